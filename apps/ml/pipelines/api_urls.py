"""Below /api/v1/projects/<slug:project>/."""

from django.urls import path

from apps.ml.pipelines import api

urlpatterns = [
    path("pipelines", api.PipelineList.as_view(), name="api-pipelines"),
    path("pipelines/<int:pk>", api.PipelineDetail.as_view(), name="api-pipeline"),
    path("pipelines/<int:pk>/wait", api.PipelineWait.as_view(), name="api-pipeline-wait"),
    path("pipelines/<int:pk>/events", api.PipelineEvents.as_view(), name="api-pipeline-events"),
    path("pipelines/<int:pk>/cancel", api.PipelineCancel.as_view(), name="api-pipeline-cancel"),
    path("pipelines/<int:pk>/rerun", api.PipelineRerun.as_view(), name="api-pipeline-rerun"),
]

# Of the whole plane: controlplane/urls.py puts these under /api/v1/, the above under a project.
plane_urlpatterns = [path("pipeline-templates", api.TemplateList.as_view(), name="api-pipeline-templates")]
