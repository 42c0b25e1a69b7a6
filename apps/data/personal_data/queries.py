"""Marks of personal data, limited to what the actor may see."""

from __future__ import annotations

from datetime import date

from django.db.models import QuerySet
from django.utils import timezone

from apps.core import policy
from apps.core.actors import Actor
from apps.core.errors import NotFound
from apps.data.datasets.models import Dataset, DatasetVersion
from apps.data.personal_data.models import PersonalColumn
from apps.data.personal_data.plane_tables import InventoryRow, list_plane_tables
from apps.platform.accounts.models import Project


def list_project_columns(actor: Actor, project: Project) -> QuerySet[PersonalColumn]:
    """The marked columns of the project's datasets."""
    policy.require(actor, "personal_data.view", project)
    rows = PersonalColumn.objects.visible_to(actor).filter(dataset__project=project)
    return rows.select_related("dataset", "dataset__project")


def list_plane_columns(actor: Actor) -> QuerySet[PersonalColumn]:
    """The marked columns of every project."""
    policy.require(actor, "personal_data.view_plane")
    return PersonalColumn.objects.visible_to(actor).select_related("dataset", "dataset__project")


def list_tables(actor: Actor) -> list[InventoryRow]:
    """The plane's own tables that hold personal data."""
    policy.require(actor, "personal_data.view_plane")
    return list_plane_tables()


def get_personal_column(actor: Actor, project: Project, pk: int) -> PersonalColumn:
    mark = list_project_columns(actor, project).filter(pk=pk).first()
    if mark is None:
        raise NotFound("The project has no such mark.", field="id")
    return mark


def find_personal_columns(version: DatasetVersion) -> set[str]:
    """The names of the version's columns that are marked."""
    marked = PersonalColumn.objects.filter(dataset=version.dataset_id).values_list("column", flat=True)
    return select_present_columns(version, set(marked))


def select_present_columns(version: DatasetVersion, marked: set[str]) -> set[str]:
    """The marked columns that the version has; all of them where nobody has measured which columns it has."""
    return marked.intersection(list_column_names(version)) if version.columns else marked


def list_column_names(version: DatasetVersion) -> list[str]:
    return [str(column.get("name", "")) for column in version.columns]


def get_newest_version(dataset: Dataset) -> DatasetVersion | None:
    versions = DatasetVersion.objects.filter(dataset=dataset, deleted_at=None).order_by("-number")
    return versions.select_related("dataset", "dataset__project").defer("manifest").first()


def count_overdue(today: date | None = None) -> int:
    """Marked columns whose last day of use is over while a version of their dataset is still here."""
    today = today or timezone.localdate()
    rows = PersonalColumn.objects.filter(retain_until__lt=today, dataset__versions__deleted_at=None)
    return rows.filter(dataset__versions__isnull=False).distinct().count()
