from django.urls import path

from apps.site.snapshots import api
from apps.site.snapshots.environments.api import EnvironmentComparisonView, EnvironmentView

urlpatterns = [
    path("snapshots", api.SnapshotList.as_view(), name="api-snapshots"),
    path("snapshots/<int:pk>", api.SnapshotDetail.as_view(), name="api-snapshot"),
    path("snapshots/<int:pk>/operations", api.SnapshotOperations.as_view(), name="api-snapshot-operations"),
    path("environments", EnvironmentView.as_view(), name="api-environments"),
    path("environments/diff", EnvironmentComparisonView.as_view(), name="api-environments-diff"),
]
