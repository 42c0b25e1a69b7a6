from django.urls import path

from apps.platform.nodes import api

urlpatterns = [
    path("nodes", api.NodeList.as_view(), name="api-nodes"),
    path("nodes/<str:name>", api.NodeDetail.as_view(), name="api-node"),
    path("nodes/<str:name>/samples", api.NodeSamples.as_view(), name="api-node-samples"),
    path("nodes/<str:name>/hold", api.NodeHold.as_view(), name="api-node-hold"),
    path("nodes/<str:name>/release", api.NodeRelease.as_view(), name="api-node-release"),
]
