"""Pages below /p/<slug:project>/."""

from django.urls import path

from apps.fleet.releases import lists

app_name = "releases"
urlpatterns = [
    path("releases", lists.show_releases, name="list"),
    path("releases/samples", lists.make_samples, name="samples"),
    path("releases/<int:pk>/provenance", lists.download_provenance, name="provenance"),
    path("releases/<int:pk>/revoke", lists.revoke, name="revoke"),
]
