"""The lists of datasets, and of the versions of one: their columns, and what narrows them."""

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
from apps.data.datasets.models import Dataset, DatasetQuerySet, DatasetVersionQuerySet
from apps.data.datasets.versions.commits import clone_url
from apps.data.datasets.views import upload_command
from apps.platform.accounts.models import Project
from apps.platform.audit.list_export import csv_response
from apps.platform.jobs.views import get_project_context

Row = dict[str, Any]


def of(part: str, name: str) -> Callable[[Row], Any]:
    return lambda row: getattr(row[part], name)


def share(row: Row) -> float | None:
    found: float | None = row["share"]
    return found


DATASETS = Listing(
    "datasets",
    (
        Column("name", gettext_lazy("Dataset"), of("dataset", "name"), ("name",)),
        Column("description", gettext_lazy("Description"), of("dataset", "description"), default_visible=False),
        Column("newest", gettext_lazy("Newest version"), of("dataset", "versions_count")),
        Column("rows", gettext_lazy("Rows"), of("dataset", "rows"), numeric=True),
        Column("missing", gettext_lazy("Missing"), share, numeric=True),
        Column("size", gettext_lazy("Size"), of("dataset", "size"), numeric=True),
        Column("by", gettext_lazy("By"), lambda row: row["dataset"].changed_by or row["dataset"].created_by),
        Column("changed", gettext_lazy("Changed"), of("dataset", "touched_at"), ("touched_at", "id"), down=True),
        Column("made", gettext_lazy("Made"), of("dataset", "created_at"), ("id",), down=True, default_visible=False),
    ),
    sort="name",
)
VERSIONS = Listing(
    "dataset_versions",
    (
        Column("version", gettext_lazy("Version"), of("version", "number"), ("number",), down=True),
        Column("digest", gettext_lazy("Digest"), of("version", "digest")),
        Column(
            "rows", gettext_lazy("Rows"), of("version", "rows"), ("rows", "id"), numeric=True, down=True, sparse=True
        ),
        Column("missing", gettext_lazy("Missing"), share, numeric=True),
        Column("size", gettext_lazy("Size"), of("version", "size"), ("size", "id"), numeric=True, down=True),
        Column(
            "columns",
            gettext_lazy("Columns"),
            lambda row: len(row["version"].columns),
            numeric=True,
            default_visible=False,
        ),
        Column("made_by", gettext_lazy("Made by"), lambda row: row["version"].job_id or row["version"].script),
        Column("for", gettext_lazy("By"), of("version", "created_by")),
        Column("when", gettext_lazy("When"), of("version", "created_at")),
        Column("note", gettext_lazy("Note"), of("version", "note")),
    ),
    sort="-version",
)


# -- datasets -------------------------------------------------------------------------------------------------------
@mark_list_view(DATASETS.key)
@require_safe
def dataset_list(request: HttpRequest, project: str) -> HttpResponseBase:
    """/p/<slug>/data: every dataset with what its newest version holds."""
    actor, where = get_project_context(request, project)
    asked = read_filter_values(request.GET, ("name",))
    table = build_table(
        DATASETS,
        request.GET,
        lambda: found_datasets(actor, where, request.GET, asked["name"]),
        filters=[
            {"name": "name", "label": _("Name"), "value": asked["name"]},
            *build_day_filters(request.GET, "changed", _("Changed from"), _("Changed until")),
        ],
        transform_rows=measured(request.GET, "dataset", "quality"),
        builtin=[build_builtin_view(_("Changed in 7 days"), changed_after="7d")],
        sort="-changed" if request.GET.get("changed_after") or request.GET.get("changed_before") else "",
    )
    if request.GET.get("format") == "csv":
        return csv_response(actor, table, project=where)
    context = {
        **table.build_context(),
        "nav": "data",
        "count": Dataset.objects.visible_to(actor).filter(project=where).count(),
        "may_add": is_allowed(actor, "dataset.add_version", where),
        "command": upload_command(request, where.slug, "NAME").replace(" \\\n ", ""),
    }
    return render(request, "datasets/list.html", context, status=table.status)


def found_datasets(actor: Actor, project: Project, params: QueryDict, name: str) -> DatasetQuerySet:
    newest = queries.newest_of(OuterRef("pk"))
    datasets = queries.list_datasets(actor, project, query=name).annotate(
        quality=Subquery(newest.values("quality_id")), changed_by=Subquery(newest.values("created_by"))
    )
    found: DatasetQuerySet = filter_between_days(datasets, "touched_at", params, "changed")
    return found


def measured(params: QueryDict, part: str, quality: str) -> Callable[[Sequence[Any]], list[Row]]:
    """Each row with the share of its cells that are missing.

    A page reads a few reports that it does not know yet; a file must not leave out what the page would show tomorrow.
    """
    most = None if params.get("format") == "csv" else presenters.READ_AT_ONCE

    def dress(rows: Sequence[Any]) -> list[Row]:
        shares = presenters.missing_shares((getattr(row, quality) for row in rows), most=most)
        return [{part: row, "share": shares.get(getattr(row, quality))} for row in rows]

    return dress


# -- versions of one ------------------------------------------------------------------------------------------------
@mark_list_view(VERSIONS.key)
@require_safe
def dataset_page(request: HttpRequest, project: str, name: str) -> HttpResponseBase:
    """/p/<slug>/data/<name>: its versions, newest first."""
    actor, where = get_project_context(request, project)
    dataset = queries.get_dataset(actor, where, name)
    asked = read_filter_values(request.GET, ("by", "note"))
    table = build_table(
        VERSIONS,
        request.GET,
        lambda: found_versions(actor, dataset, request.GET, asked),
        filters=[
            {"name": "note", "label": _("Note"), "value": asked["note"]},
            {"name": "by", "label": _("Who"), "value": asked["by"]},
            *build_day_filters(request.GET, "made", pgettext("day", "Made from"), _("Made until")),
        ],
        transform_rows=measured(request.GET, "version", "quality_id"),
        builtin=[build_builtin_view(_("Mine"), by=actor.label)],
    )
    if request.GET.get("format") == "csv":
        return csv_response(actor, table, project=where)
    context = {
        **table.build_context(),
        "nav": "data",
        "dataset": dataset,
        "may_add": is_allowed(actor, "dataset.add_version", where),
        "may_submit": is_allowed(actor, "job.submit", where),
        "clone_url": clone_url(request, where.slug, dataset.name),
    }
    return render(request, "datasets/dataset.html", context, status=table.status)


def found_versions(actor: Actor, dataset: Dataset, params: QueryDict, asked: dict[str, str]) -> DatasetVersionQuerySet:
    versions = queries.list_versions(actor, dataset).defer("manifest", "params")
    if asked["by"]:
        versions = versions.filter(created_by=asked["by"])
    if asked["note"]:
        versions = versions.filter(note__icontains=asked["note"])
    found: DatasetVersionQuerySet = filter_between_days(versions, "created_at", params, "made")
    return found
