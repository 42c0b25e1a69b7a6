"""Below /api/v1/doctor/: what a node fetches and sends with its own token."""

from django.urls import path

from apps.site.isolation import api

urlpatterns = [
    path("nodes/<path:name>/isolation-policy", api.NodePolicy.as_view(), name="node-isolation-policy"),
    path("nodes/<path:name>/isolation-reports", api.NodeProbeReports.as_view(), name="node-isolation-reports"),
]
