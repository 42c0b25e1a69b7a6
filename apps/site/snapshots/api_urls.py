from django.urls import path

from apps.site.snapshots import api

urlpatterns = [
    path("snapshots", api.SnapshotList.as_view(), name="api-snapshots"),
    path("snapshots/<int:pk>", api.SnapshotDetail.as_view(), name="api-snapshot"),
    path("snapshots/<int:pk>/operations", api.SnapshotOperations.as_view(), name="api-snapshot-operations"),
]
