"""Below /api/v1/projects/<slug:project>/."""

from django.urls import path

from apps.ml.experiments import api, api_annotations
from apps.ml.experiments.purge import api as purge_api
from apps.ml.experiments.workspace import api as workspace_api

urlpatterns = [
    path("experiments", api.ExperimentsView.as_view(), name="api-experiments"),
    path("runs", api.RunsView.as_view(), name="api-runs"),
    path("runs/purgeable", purge_api.PurgeableView.as_view(), name="api-runs-purgeable"),
    path("runs/panels", workspace_api.PanelsView.as_view(), name="api-run-panels"),
    path("runs/panels/<int:pk>", workspace_api.PanelView.as_view(), name="api-run-panel"),
    path("runs/compare", api.CompareView.as_view(), name="api-runs-compare"),
    path("runs/points.csv", api.PointsCsvView.as_view(), name="api-runs-csv"),
    path("runs/<slug:run>", api.RunView.as_view(), name="api-run"),
    path("runs/<slug:run>/metrics", api.MetricsView.as_view(), name="api-run-metrics"),
    path("runs/<slug:run>/metrics/history", api.HistoryView.as_view(), name="api-run-history"),
    path("runs/<slug:run>/artifacts", api.ArtifactsView.as_view(), name="api-run-artifacts"),
    path("runs/<slug:run>/note", api_annotations.NoteView.as_view(), name="api-run-note"),
    path("runs/<slug:run>/tags", api_annotations.TagsView.as_view(), name="api-run-tags"),
    path("runs/<slug:run>/delete", api_annotations.DeleteView.as_view(), name="api-run-delete"),
    path("runs/<slug:run>/restore", api_annotations.RestoreView.as_view(), name="api-run-restore"),
]
