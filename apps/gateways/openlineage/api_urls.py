"""Below /api/v1/projects/<slug:project>/, and the one address that OpenLineage's clients know."""

from django.urls import path

from apps.gateways.openlineage import api

urlpatterns = [
    path("lineage/events", api.EventsView.as_view(), name="api-lineage-events"),
    path("jobs/<int:pk>/openlineage", api.JobEventsView.as_view(), name="api-job-openlineage"),
    path("pipelines/<int:pk>/openlineage", api.PipelineEventsView.as_view(), name="api-pipeline-openlineage"),
]
plane_urlpatterns = [path("lineage", api.ReceiveView.as_view(), name="api-openlineage")]
