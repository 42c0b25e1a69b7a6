"""Lists of datasets and of their versions: columns and filters."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from django.db.models import OuterRef, Subquery
from django.http import HttpRequest, HttpResponseBase, QueryDict
from django.shortcuts import render
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, pgettext
from django.views.decorators.http import require_safe

from apps.core.actors import Actor
from apps.core.lists.listing import (
    Column,
    Listing,
    build_builtin_view,
    build_day_filters,
    build_table,
    filter_between_days,
    mark_list_view,
    read_filter_values,
)
from apps.core.policy import is_allowed
from apps.data.datasets import presenters, queries
from apps.data.datasets.cards.views import build_card_context
from apps.data.datasets.models import Dataset, DatasetQuerySet, DatasetVersionQuerySet
from apps.data.datasets.versions.commits import clone_url
from apps.data.datasets.views import upload_command
from apps.platform.accounts.models import Project
from apps.platform.accounts.projects import get_project_context
from apps.platform.audit.list_export import export_list

Row = dict[str, Any]


def get_attribute_of(part: str, name: str) -> Callable[[Row], Any]:
    return lambda row: getattr(row[part], name)


def get_missing_share(row: Row) -> float | None:
    value: float | None = row["share"]
    return value


DATASETS = Listing(
    "datasets",
    (
        Column("name", gettext_lazy("Dataset"), get_attribute_of("dataset", "name"), ("name",)),
        Column(
            "description",
            gettext_lazy("Description"),
            get_attribute_of("dataset", "description"),
            default_visible=False,
        ),
        Column("newest", gettext_lazy("Newest version"), get_attribute_of("dataset", "versions_count")),
        Column("rows", gettext_lazy("Rows"), get_attribute_of("dataset", "rows"), numeric=True),
        Column("missing", gettext_lazy("Missing"), get_missing_share, numeric=True),
        Column("size", gettext_lazy("Size"), get_attribute_of("dataset", "size"), numeric=True),
        Column("by", gettext_lazy("By"), lambda row: row["dataset"].changed_by or row["dataset"].created_by),
        Column(
            "changed",
            gettext_lazy("Changed"),
            get_attribute_of("dataset", "touched_at"),
            ("touched_at", "id"),
            down=True,
        ),
        Column(
            "made",
            gettext_lazy("Created"),
            get_attribute_of("dataset", "created_at"),
            ("id",),
            down=True,
            default_visible=False,
        ),
    ),
    sort="name",
)
VERSIONS = Listing(
    "dataset_versions",
    (
        Column("version", gettext_lazy("Version"), get_attribute_of("version", "number"), ("number",), down=True),
        Column("digest", gettext_lazy("Digest"), get_attribute_of("version", "digest")),
        Column(
            "rows",
            gettext_lazy("Rows"),
            get_attribute_of("version", "rows"),
            ("rows", "id"),
            numeric=True,
            down=True,
            sparse=True,
        ),
        Column("missing", gettext_lazy("Missing"), get_missing_share, numeric=True),
        Column(
            "size", gettext_lazy("Size"), get_attribute_of("version", "size"), ("size", "id"), numeric=True, down=True
        ),
        Column(
            "columns",
            gettext_lazy("Columns"),
            lambda row: len(row["version"].columns),
            numeric=True,
            default_visible=False,
        ),
        Column("made_by", gettext_lazy("Created by"), lambda row: row["version"].job_id or row["version"].script),
        Column("for", gettext_lazy("By"), get_attribute_of("version", "created_by")),
        Column("when", gettext_lazy("When"), get_attribute_of("version", "created_at")),
        Column("note", gettext_lazy("Note"), get_attribute_of("version", "note")),
    ),
    sort="-version",
)


# -- datasets -------------------------------------------------------------------------------------------------------
@mark_list_view(DATASETS.key)
@require_safe
def show_dataset_list(request: HttpRequest, project: str) -> HttpResponseBase:
    """/p/<slug>/data: every dataset with what its newest version holds."""
    actor, in_project = get_project_context(request, project)
    filter_texts = read_filter_values(request.GET, ("name",))
    table = build_table(
        DATASETS,
        request.GET,
        lambda: filter_datasets(actor, in_project, request.GET, filter_texts["name"]),
        filters=[
            {"name": "name", "label": _("Name"), "value": filter_texts["name"]},
            *build_day_filters(request.GET, "changed", _("Changed from"), _("Changed until")),
        ],
        transform_rows=build_row_transform(request.GET, "dataset", "quality"),
        builtin=[build_builtin_view(_("Changed in 7 days"), changed_after="7d")],
        sort="-changed" if request.GET.get("changed_after") or request.GET.get("changed_before") else "",
    )
    if request.GET.get("format") == "csv":
        return export_list(actor, table, project=in_project)
    context = {
        **table.build_context(),
        "nav": "data",
        "count": Dataset.objects.visible_to(actor).filter(project=in_project).count(),
        "may_add": is_allowed(actor, "dataset.add_version", in_project),
        "command": upload_command(request, in_project.slug, "NAME").replace(" \\\n ", ""),
    }
    return render(request, "datasets/list.html", context, status=table.status)


def filter_datasets(actor: Actor, project: Project, params: QueryDict, name: str) -> DatasetQuerySet:
    newest = queries.query_newest_version(OuterRef("pk"))
    datasets = queries.list_datasets(actor, project, query=name).annotate(
        quality=Subquery(newest.values("quality_id")), changed_by=Subquery(newest.values("created_by"))
    )
    filtered: DatasetQuerySet = filter_between_days(datasets, "touched_at", params, "changed")
    return filtered


def build_row_transform(params: QueryDict, part: str, quality: str) -> Callable[[Sequence[Any]], list[Row]]:
    """Each row with the share of its cells that are missing.

    A page reads a few reports that it does not know yet; a file must not leave out what the page would show tomorrow.
    """
    most = None if params.get("format") == "csv" else presenters.MAX_REPORTS_READ

    def add_missing_shares(rows: Sequence[Any]) -> list[Row]:
        shares = presenters.get_missing_shares((getattr(row, quality) for row in rows), most=most)
        return [{part: row, "share": shares.get(getattr(row, quality))} for row in rows]

    return add_missing_shares


# -- versions of one ------------------------------------------------------------------------------------------------
@mark_list_view(VERSIONS.key)
@require_safe
def show_dataset(request: HttpRequest, project: str, name: str) -> HttpResponseBase:
    """/p/<slug>/data/<name>: its versions, newest first."""
    actor, in_project = get_project_context(request, project)
    dataset = queries.get_dataset(actor, in_project, name)
    filter_texts = read_filter_values(request.GET, ("by", "note"))
    table = build_table(
        VERSIONS,
        request.GET,
        lambda: filter_versions(actor, dataset, request.GET, filter_texts),
        filters=[
            {"name": "note", "label": _("Note"), "value": filter_texts["note"]},
            {"name": "by", "label": _("Who"), "value": filter_texts["by"]},
            *build_day_filters(request.GET, "made", pgettext("day", "Created from"), _("Created until")),
        ],
        transform_rows=build_row_transform(request.GET, "version", "quality_id"),
        builtin=[build_builtin_view(_("Mine"), by=actor.label)],
    )
    if request.GET.get("format") == "csv":
        return export_list(actor, table, project=in_project)
    context = {
        **table.build_context(),
        "nav": "data",
        "dataset": dataset,
        "may_add": is_allowed(actor, "dataset.add_version", in_project),
        "may_submit": is_allowed(actor, "job.submit", in_project),
        "clone_url": clone_url(request, in_project.slug, dataset.name),
        **build_card_context(actor, dataset),
    }
    return render(request, "datasets/dataset.html", context, status=table.status)


def filter_versions(
    actor: Actor, dataset: Dataset, params: QueryDict, filter_texts: dict[str, str]
) -> DatasetVersionQuerySet:
    versions = queries.list_versions(actor, dataset).defer("manifest", "params")
    if filter_texts["by"]:
        versions = versions.filter(created_by=filter_texts["by"])
    if filter_texts["note"]:
        versions = versions.filter(note__icontains=filter_texts["note"])
    filtered: DatasetVersionQuerySet = filter_between_days(versions, "created_at", params, "made")
    return filtered
