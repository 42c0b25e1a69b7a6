"""Addresses that installers and uploaders speak to; they stand at the top, as clients are told them."""

from django.urls import path, re_path

from apps.site.mirror import index_views
from apps.site.mirror.images import registry_views

app_name = "index"
urlpatterns = [
    path("simple", index_views.redirect_to_index),
    path("simple/", index_views.show_index, name="root"),
    path("simple/<str:name>", index_views.redirect_to_project),
    path("simple/<str:name>/", index_views.show_project, name="project"),
    path("simple/<str:name>/<str:filename>", index_views.download_file, name="file"),
    path("legacy/", index_views.upload, name="upload"),
    path("v2/", registry_views.show_root, name="registry"),
    path("v2/_catalog", registry_views.list_repositories),
    path("v2/<path:name>/tags/list", registry_views.list_repository_tags),
    path("v2/<path:name>/manifests/<str:reference>", registry_views.get_manifest),
    re_path(r"^v2/(?P<name>.+)/blobs/sha256:(?P<digest>[0-9a-f]{64})$", registry_views.get_blob),
    path("v2/<path:rest>", registry_views.refuse_address),
]
