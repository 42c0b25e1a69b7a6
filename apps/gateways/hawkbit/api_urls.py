"""Below /api/v1/projects/<slug:project>/."""

from django.urls import path

from apps.gateways.hawkbit import api

urlpatterns = [
    path("releases/<int:pk>/update-file", api.UpdateFileView.as_view(), name="api-release-update-file"),
    path("devices/maintenance-window", api.MaintenanceWindowView.as_view(), name="api-devices-maintenance-window"),
]
