"""Pages of the whole plane."""

from django.urls import path

from apps.site.mirror import views

app_name = "packages"
urlpatterns = [
    path("images", views.show_images, name="images"),
    path("images/<str:digest>.tar", views.download_image, name="image"),
    path("packages", views.show_packages, name="list"),
    path("packages/<str:name>", views.show_package, name="detail"),
    path("packages/<str:name>/<str:version>/yank", views.yank, name="yank"),
    path("packages/<str:name>/<str:version>/unyank", views.unyank, name="unyank"),
]
