"""Below /api/v1/projects/<slug:project>/."""

from django.urls import path

from apps.platform.holds import api

urlpatterns = [
    path("holds", api.HoldsView.as_view(), name="api-holds"),
    path("holds/<int:pk>", api.HoldView.as_view(), name="api-hold"),
]
