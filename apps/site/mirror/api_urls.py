from django.urls import path

from apps.site.mirror import api

urlpatterns = [
    path("images", api.ImageList.as_view(), name="api-images"),
    path("packages", api.PackageList.as_view(), name="api-packages"),
    path("packages/<str:name>", api.PackageDetail.as_view(), name="api-package"),
    path("packages/<str:name>/<str:version>/yank", api.PackageYank.as_view(), name="api-package-yank"),
    path("packages/<str:name>/<str:version>/unyank", api.PackageUnyank.as_view(), name="api-package-unyank"),
]
