"""Below /api/v1/projects/<slug:project>/."""

from django.urls import path

from apps.datasets import api

VERSION = "datasets/<str:name>/versions/<str:version>"

urlpatterns = [
    path("datasets", api.DatasetsView.as_view(), name="api-datasets"),
    path("datasets/<str:name>", api.DatasetView.as_view(), name="api-dataset"),
    path("datasets/<str:name>/versions", api.VersionsView.as_view(), name="api-dataset-versions"),
    path(VERSION, api.VersionView.as_view(), name="api-dataset-version"),
    path(f"{VERSION}/preview", api.PreviewView.as_view(), name="api-dataset-preview"),
    path(f"{VERSION}/quality", api.QualityView.as_view(), name="api-dataset-quality"),
    path(f"{VERSION}/jobs", api.VersionJobsView.as_view(), name="api-dataset-jobs"),
    path(f"{VERSION}/files/<path:path>", api.FileView.as_view(), name="api-dataset-file"),
]
