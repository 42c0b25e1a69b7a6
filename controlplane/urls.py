"""Addresses: `/p/<project>/...` for people, `/api/v1/...` for programs."""

from importlib.util import find_spec

from django.urls import include, path

APPS = ["audit", "accounts", "artifacts", "nodes", "jobs", "lineage", "datasets"]


def addresses(module: str) -> list:
    """Include what each app lists."""
    return [include(f"apps.{app}.{module}") for app in APPS if find_spec(f"apps.{app}.{module}")]


urlpatterns = [path("accounts/", include("allauth.urls"))]
