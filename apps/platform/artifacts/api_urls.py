"""Below /api/v1/projects/<slug:project>/, and of the whole plane."""

from django.urls import path

from apps.platform.artifacts.api import ArtifactInfoView, ArtifactsView, ArtifactView, GarbageView

urlpatterns = [
    path("artifacts", ArtifactsView.as_view(), name="api-artifacts"),
    path("artifacts/<str:digest>", ArtifactView.as_view(), name="api-artifact"),
    path("artifacts/<str:digest>/info", ArtifactInfoView.as_view(), name="api-artifact-info"),
]

# Of the whole plane: controlplane/urls.py puts these under /api/v1/, the above under a project.
plane_urlpatterns = [path("artifacts/garbage", GarbageView.as_view(), name="api-garbage")]
