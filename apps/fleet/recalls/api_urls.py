"""Below /api/v1/projects/<slug:project>/."""

from django.urls import path

from apps.fleet.recalls import api

urlpatterns = [
    path("recalls", api.RecallList.as_view(), name="api-recalls"),
    path("recalls/preview", api.RecallPreviewView.as_view(), name="api-recall-preview"),
    path("recalls/carriers", api.RecallCarriers.as_view(), name="api-recall-carriers"),
    path("recalls/<int:pk>", api.RecallDetail.as_view(), name="api-recall"),
    path("recalls/<int:pk>/items", api.RecallItems.as_view(), name="api-recall-items"),
    path("recalls/<int:pk>/devices", api.RecallDevices.as_view(), name="api-recall-devices"),
    path("recalls/<int:pk>/retry", api.RecallRetry.as_view(), name="api-recall-retry"),
]
