"""Below /api/v1/projects/<slug:project>/."""

from django.urls import path

from apps.artifacts.api import ArtifactInfoView, ArtifactsView, ArtifactView

urlpatterns = [
    path("artifacts", ArtifactsView.as_view(), name="api-artifacts"),
    path("artifacts/<str:digest>", ArtifactView.as_view(), name="api-artifact"),
    path("artifacts/<str:digest>/info", ArtifactInfoView.as_view(), name="api-artifact-info"),
]
