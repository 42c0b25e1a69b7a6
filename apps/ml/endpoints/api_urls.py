"""Below /api/v1/projects/<slug:project>/."""

from django.urls import path

from apps.ml.endpoints import api

urlpatterns = [
    path("endpoints", api.EndpointList.as_view(), name="api-endpoints"),
    path("endpoints/<slug:name>", api.EndpointDetail.as_view(), name="api-endpoint"),
    path("endpoints/<slug:name>/suspend", api.EndpointSuspend.as_view(), name="api-endpoint-suspend"),
    path("endpoints/<slug:name>/resume", api.EndpointResume.as_view(), name="api-endpoint-resume"),
    path("endpoints/<slug:name>/token", api.EndpointToken.as_view(), name="api-endpoint-token"),
    path("endpoints/<slug:name>/predict", api.EndpointPredict.as_view(), name="api-endpoint-predict"),
]
