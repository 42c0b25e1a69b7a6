"""Git commits of versions: the app that knows Git is above this one, so settings name its function."""

from __future__ import annotations

from django.conf import settings
from django.http import HttpRequest
from django.urls import reverse
from django.utils.module_loading import import_string

from apps.data.datasets.models import DatasetVersion


def record_commit(version: DatasetVersion) -> None:
    """Give a version just added its commit; in the transaction that adds it, behind the dataset's lock."""
    import_string(settings.DATASET_COMMITS)(version)


def clone_url(request: HttpRequest | None, project: str, name: str) -> str:
    """The address of the dataset's repository, as the client reached the plane."""
    at = reverse("repositories:at", args=[f"{project}/{name}.git"])
    return request.build_absolute_uri(at) if request else at
