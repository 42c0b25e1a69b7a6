"""Below /api/v1/projects/<slug:project>/."""

from django.urls import path

from apps.data.datasets import api, api_provenance, api_quality, api_row_origins, api_versions
from apps.data.datasets.rows import api as rows_api

VERSION = "datasets/<str:name>/versions/<str:version>"

urlpatterns = [
    path("datasets", api.DatasetsView.as_view(), name="api-datasets"),
    path("datasets/<str:name>", api.DatasetView.as_view(), name="api-dataset"),
    path(
        "datasets/<str:name>/expectations",
        api_quality.ExpectationsView.as_view(),
        name="api-dataset-expectations",
    ),
    path(
        "datasets/<str:name>/expectations/pandera",
        api_quality.PanderaView.as_view(),
        name="api-dataset-expectations-pandera",
    ),
    path("datasets/<str:name>/versions", api.VersionsView.as_view(), name="api-dataset-versions"),
    path(VERSION, api.VersionView.as_view(), name="api-dataset-version"),
    path(f"{VERSION}/preview", api.PreviewView.as_view(), name="api-dataset-preview"),
    path(f"{VERSION}/rows", rows_api.RowsView.as_view(), name="api-dataset-rows"),
    path(f"{VERSION}/quality", api.QualityView.as_view(), name="api-dataset-quality"),
    path(f"{VERSION}/rows/<int:row>/origin", api_row_origins.RowOriginView.as_view(), name="api-row-origin"),
    path(
        f"{VERSION}/rows/<int:row>/descendants",
        api_row_origins.RowDescendantsView.as_view(),
        name="api-row-descendants",
    ),
    path(f"{VERSION}/made-by", api_provenance.VersionMadeByView.as_view(), name="api-dataset-made-by"),
    path("jobs/<int:pk>/made-by", api_provenance.JobMadeByView.as_view(), name="api-job-made-by"),
    path(f"{VERSION}/drift", api_quality.DriftView.as_view(), name="api-dataset-drift"),
    path(f"{VERSION}/measure", api_quality.MeasureView.as_view(), name="api-dataset-measure"),
    path(f"{VERSION}/jobs", api.VersionJobsView.as_view(), name="api-dataset-jobs"),
    path(f"{VERSION}/tags/<str:tag>", api_versions.TagView.as_view(), name="api-dataset-tag"),
    path(f"{VERSION}/diff/<str:before>", api_versions.DiffView.as_view(), name="api-dataset-diff"),
    path(f"{VERSION}/files", api_versions.FilesView.as_view(), name="api-dataset-files"),
    path(f"{VERSION}/files/<path:path>", api.FileView.as_view(), name="api-dataset-file"),
]
