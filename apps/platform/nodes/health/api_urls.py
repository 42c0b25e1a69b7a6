"""Below /api/v1/doctor/: what a node's doctor asks with the node's own token."""

from django.urls import path

from apps.platform.nodes.health import api

urlpatterns = [
    path("nodes/<path:name>/reports", api.DoctorReports.as_view(), name="doctor-reports"),
    path("nodes/<path:name>/registration", api.DoctorRegistration.as_view(), name="doctor-registration"),
    path("plane-health", api.DoctorPlaneHealth.as_view(), name="doctor-plane-health"),
]
