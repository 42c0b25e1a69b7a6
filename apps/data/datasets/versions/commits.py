"""Git commits of versions: the app that knows Git is above this one, and registers its function."""

from __future__ import annotations

from collections.abc import Callable

from django.http import HttpRequest
from django.urls import reverse

from apps.core.registry import Registry
from apps.data.datasets.models import DatasetVersion

COMMIT_RECORDERS: Registry[Callable[[DatasetVersion], None]] = Registry("COMMIT_RECORDERS")
"""By app: what gives a version its commit."""


def record_commit(version: DatasetVersion) -> None:
    """Give a version just added its commit; in the transaction that adds it, behind the dataset's lock."""
    for record in COMMIT_RECORDERS.values():
        record(version)


def clone_url(request: HttpRequest | None, project: str, name: str) -> str:
    """The address of the dataset's repository, as the client reached the plane."""
    at = reverse("repositories:at", args=[f"{project}/{name}.git"])
    return request.build_absolute_uri(at) if request else at
