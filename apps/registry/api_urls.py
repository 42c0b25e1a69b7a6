"""Below /api/v1/projects/<slug:project>/."""

from django.urls import URLPattern

urlpatterns: list[URLPattern] = []
