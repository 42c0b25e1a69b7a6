"""Pages below /p/<slug:project>/."""

from django.urls import URLPattern

app_name = "registry"
urlpatterns: list[URLPattern] = []
