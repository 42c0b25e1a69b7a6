from django.urls import path

from apps.platform.nodes import api
from apps.platform.nodes.health import api as health_api
from apps.platform.nodes.probes import api as probes_api

urlpatterns = [
    path("nodes", api.NodeList.as_view(), name="api-nodes"),
    path("nodes/<str:name>", api.NodeDetail.as_view(), name="api-node"),
    path("nodes/<str:name>/samples", api.NodeSamples.as_view(), name="api-node-samples"),
    path("nodes/<str:name>/health", health_api.NodeHealth.as_view(), name="api-node-health"),
    path("nodes/<str:name>/token", health_api.NodeTokenView.as_view(), name="api-node-token"),
    path("probes", probes_api.ProbeList.as_view(), name="api-probes"),
    path("probes/<int:pk>", probes_api.ProbeDetail.as_view(), name="api-probe"),
    path("nodes/<str:name>/labels", api.NodeLabels.as_view(), name="api-node-labels"),
    path("nodes/<str:name>/hold", api.NodeHold.as_view(), name="api-node-hold"),
    path("nodes/<str:name>/release", api.NodeRelease.as_view(), name="api-node-release"),
]
