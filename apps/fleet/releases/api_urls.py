"""Below /api/v1/projects/<slug:project>/, and of the whole plane below /api/v1/."""

from django.urls import path

from apps.fleet.releases import api

urlpatterns = [
    path("releases", api.ReleaseList.as_view(), name="api-releases"),
    path("releases/samples", api.ReleaseSamples.as_view(), name="api-release-samples"),
    path("releases/<int:pk>", api.ReleaseDetail.as_view(), name="api-release"),
    path("releases/<int:pk>/revoke", api.ReleaseRevoke.as_view(), name="api-release-revoke"),
]
plane_urlpatterns = [path("release-keys", api.ReleaseKeys.as_view(), name="api-release-keys")]
