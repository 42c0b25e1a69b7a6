"""The lists of marked columns: of a project, and of the plane."""

from __future__ import annotations

from typing import Any

from django.db.models import Q, QuerySet
from django.http import QueryDict
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from apps.core.actors import Actor
from apps.core.lists.listing import Column, Listing, ListTable, build_table, read_filter_values
from apps.core.request_values import validate_choice
from apps.data.personal_data.categories import Category
from apps.data.personal_data.models import PersonalColumn
from apps.data.personal_data.queries import list_plane_columns, list_project_columns
from apps.platform.accounts.models import Project

OVERDUE, CURRENT = "overdue", "current"
SHARED = (
    Column("dataset", gettext_lazy("Dataset"), lambda row: row.dataset.name),
    Column("category", gettext_lazy("Category"), lambda row: row.category),
    Column("purpose", gettext_lazy("Purpose"), lambda row: row.purpose),
    Column("legal_basis", gettext_lazy("Legal basis"), lambda row: row.legal_basis),
    Column("retain_until", gettext_lazy("Retained until"), lambda row: row.retain_until, ("retain_until", "id")),
    Column("marked_by", gettext_lazy("Marked by"), lambda row: row.marked_by),
    Column("marked", gettext_lazy("Marked"), lambda row: row.marked_at, default_visible=False),
)
NAME = Column("column", gettext_lazy("Column"), lambda row: row.column, ("id",))
PROJECT_COLUMNS = Listing("personal-data", (NAME, *SHARED), sort="retain_until")
PLANE_COLUMNS = Listing(
    "plane-personal-data",
    (NAME, Column("project", gettext_lazy("Project"), lambda row: row.dataset.project.slug), *SHARED),
    sort="retain_until",
)


def build_project_table(actor: Actor, project: Project, params: QueryDict) -> ListTable:
    return build_marks_table(PROJECT_COLUMNS, params, list_project_columns(actor, project))


def build_plane_table(actor: Actor, params: QueryDict) -> ListTable:
    return build_marks_table(PLANE_COLUMNS, params, list_plane_columns(actor))


def build_marks_table(listing: Listing, params: QueryDict, rows: QuerySet[PersonalColumn]) -> ListTable:
    """Marks by the end of their retention, the next one first."""
    values = read_filter_values(params, ("q", "category", "retention"))
    categories = [("", _("Every category")), *((value, str(label)) for value, label in Category.choices)]
    retentions = [("", _("Every retention")), (CURRENT, _("In force")), (OVERDUE, _("Overdue"))]

    def query() -> Any:
        return filter_marks(rows, values)

    return build_table(
        listing,
        params,
        query,
        filters=[
            {"name": "q", "label": _("Column or dataset"), "value": values["q"]},
            {"name": "category", "label": _("Category"), "value": values["category"], "choices": categories},
            {"name": "retention", "label": _("Retention"), "value": values["retention"], "choices": retentions},
        ],
        transform_rows=add_overdue,
    )


def filter_marks(rows: QuerySet[PersonalColumn], values: dict[str, str]) -> QuerySet[PersonalColumn]:
    """Narrow by `q`, `category` and `retention`; Invalid for a value that is none of its choices."""
    validate_choice("category", values["category"], Category.values)
    validate_choice("retention", values["retention"], (CURRENT, OVERDUE))
    if text := values["q"]:
        rows = rows.filter(Q(column__icontains=text) | Q(dataset__name__icontains=text))
    if values["category"]:
        rows = rows.filter(category=values["category"])
    if values["retention"]:
        end = "retain_until__lt" if values["retention"] == OVERDUE else "retain_until__gte"
        rows = rows.filter(**{end: timezone.localdate()})
    return rows


def add_overdue(rows: Any) -> Any:
    listed, today = list(rows), timezone.localdate()
    for row in listed:
        row.is_overdue = row.retain_until < today
    return listed
