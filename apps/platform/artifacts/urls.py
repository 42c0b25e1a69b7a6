"""Pages of the whole plane."""

from django.urls import path

from apps.platform.artifacts import views

app_name = "artifacts"
urlpatterns = [path("garbage", views.show_garbage, name="garbage")]
