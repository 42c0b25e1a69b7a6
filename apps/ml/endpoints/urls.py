"""Pages below /p/<slug:project>/."""

from django.urls import path

from apps.ml.endpoints import lists, views

app_name = "endpoints"
urlpatterns = [
    path("endpoints", lists.show_endpoints, name="list"),
    path("endpoints/<slug:name>", views.show_endpoint, name="detail"),
    path("endpoints/<slug:name>/try", views.try_endpoint, name="try"),
    path("endpoints/<slug:name>/settings", views.change_settings, name="settings"),
    path("endpoints/<slug:name>/token", views.rotate_token, name="token"),
    path("endpoints/<slug:name>/suspend", views.suspend, name="suspend"),
    path("endpoints/<slug:name>/resume", views.resume, name="resume"),
    path("endpoints/<slug:name>/delete", views.delete, name="delete"),
]
