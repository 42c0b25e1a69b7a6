"""The tab of a version that shows its rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.http import QueryDict
from django.utils.translation import gettext as _

from apps.core.actors import Actor
from apps.core.errors import Invalid, Unavailable
from apps.core.messages import translate_error
from apps.data.datasets import queries
from apps.data.datasets.models import DatasetVersion
from apps.data.datasets.rows.column_heads import ColumnHead, build_heads
from apps.data.datasets.rows.places import read_place, sign_place
from apps.data.datasets.rows.row_requests import COLUMNS_SHOWN, PAGE_ROWS, VALUELESS, RowRequest, read_row_request
from apps.data.datasets.rows.row_views import RowView, TableRow, read_row_view
from apps.data.datasets.versions.masked_columns import find_masked_columns, mask_rows
from apps.data.datasets.versions.row_pages import read_rows
from apps.platform.artifacts.services import Damaged
from apps.platform.jobs.tabs import parse_number_or_zero

MAX_COLUMNS_OFFERED = 500  # in the list of a filter


def build_rows_tab(actor: Actor, version: DatasetVersion, query: QueryDict) -> dict[str, Any]:
    """The rows from the place that is requested, filtered and sorted; those of the report where only it has any."""
    names = [str(column.get("name", "")) for column in version.columns]
    row_request, context = RowRequest(), {"names": names[:MAX_COLUMNS_OFFERED], "operators": list_operators()}
    try:
        row_request = read_row_request(query, names)
        rows = load_rows(actor, version, row_request, query)
    except Invalid as error:
        rows = {"wrong": error, "columns": [], "rows": []}
    except (Damaged, Unavailable) as error:
        rows = {"note": translate_error(error), "columns": [], "rows": []}
    masked = find_masked_columns(version)
    heads = build_heads(actor, version, rows["columns"], row_request, masked)
    return (
        context
        | rows
        | {
            "heads": heads,
            "rows": [{"number": row.number, "cells": pair_cells(row.cells, heads)} for row in rows["rows"]],
            "last_number": rows["rows"][-1].number if rows["rows"] else 0,
            "masked": masked,
            "row_request": row_request,
            "chips": list_chips(row_request),
            "first_url": row_request.build_query(after="", offset=0, count=False),
        }
    )


def pair_cells(cells: Sequence[str | None], heads: Sequence[ColumnHead]) -> list[tuple[str | None, bool]]:
    """Each cell with whether its column holds numbers; a row of a broken file may be longer or shorter."""
    kinds = [head.is_number for head in heads]
    return [(cell, kinds[place] if place < len(kinds) else False) for place, cell in enumerate(cells)]


def load_rows(actor: Actor, version: DatasetVersion, row_request: RowRequest, query: QueryDict) -> dict[str, Any]:
    """The rows and the ways to the pages beside them. Raises as `read_row_view`."""
    if row_request.is_plain and not row_request.after:
        place = query.get("at", "")
        at = int(read_place(version.digest, place, "at")) if place else 0
        page = read_rows(actor, version, at, max(1, parse_number_or_zero(query.get("row"))))
        if page is not None:
            return build_csv_page(version, row_request, page, is_moved=bool(at))
    view = read_row_view(actor, version, row_request)
    if view is None:
        return build_report_page(actor, version, row_request)
    return build_view_page(view, row_request)


def build_csv_page(version: DatasetVersion, row_request: RowRequest, page: Any, *, is_moved: bool) -> dict[str, Any]:
    """Rows of a CSV file as they stand: read from a byte on, without a child."""
    page = mask_rows(version, page)
    start = row_request.first_column
    following = ""
    if page.next_at:
        place = sign_place(version.digest, str(page.next_at))
        following = f"?at={place}&row={page.last + 1}" + (f"&cols={start}" if start else "")
    return {
        "columns": [{"name": name} for name in page.columns[start : start + COLUMNS_SHOWN]],
        "rows": [
            TableRow(page.first + place, cells[start : start + COLUMNS_SHOWN]) for place, cells in enumerate(page.rows)
        ],
        "total": version.rows,
        "is_moved": is_moved,
        "next_url": following,
        "is_filterable": True,
    } | build_column_links(row_request, len(page.columns))


def build_report_page(actor: Actor, version: DatasetVersion, row_request: RowRequest) -> dict[str, Any]:
    preview = mask_rows(version, queries.read_preview(actor, version))
    start = row_request.first_column
    return {
        "columns": [{"name": name} for name in preview.columns[start : start + COLUMNS_SHOWN]],
        "rows": [
            TableRow(place, cells[start : start + COLUMNS_SHOWN]) for place, cells in enumerate(preview.rows, start=1)
        ],
        "note": preview.note,
        "from_report": True,
    } | build_column_links(row_request, len(preview.columns))


def build_view_page(view: RowView, row_request: RowRequest) -> dict[str, Any]:
    key = "offset" if row_request.sort else "after"
    changes: dict[str, Any] = {key: int(view.next) if row_request.sort else view.next} if view.next else {}
    context = {
        "columns": view.columns,
        "rows": view.rows,
        "view": view,
        "total": view.total,
        "is_filtered": bool(row_request.filters or row_request.search),
        "is_moved": bool(row_request.after or row_request.offset),
        "next_url": row_request.build_query(**changes) if changes else "",
        "count_url": row_request.build_query(count=True, sort="", after="", offset=0),
        "is_filterable": True,
    }
    if row_request.is_plain and view.rows and view.rows[0].number > 1:
        context["previous_url"] = row_request.build_query(after=str(max(0, view.rows[0].number - 1 - PAGE_ROWS)))
        context["last_url"] = ""
    if row_request.sort and row_request.offset:
        context["previous_url"] = row_request.build_query(offset=max(0, row_request.offset - PAGE_ROWS))
    return context | build_column_links(row_request, view.column_count)


def build_column_links(row_request: RowRequest, count: int) -> dict[str, Any]:
    """The ways to the columns before and behind those shown, where there are any."""
    first = row_request.first_column
    last = min(count, first + COLUMNS_SHOWN)
    return {
        "column_count": count,
        "first_column": first + 1,
        "last_column": last,
        "columns_before_url": row_request.build_query(first_column=max(0, first - COLUMNS_SHOWN)) if first else "",
        "columns_after_url": row_request.build_query(first_column=last) if last < count else "",
    }


def list_operators() -> list[tuple[str, str]]:
    return [
        ("eq", _("equals")),
        ("ne", _("is not")),
        ("gte", _("is at least")),
        ("lte", _("is at most")),
        ("between", _("is between (low..high)")),
        ("contains", _("contains")),
        ("missing", _("is missing")),
        ("present", _("is present")),
    ]


def list_chips(row_request: RowRequest) -> list[dict[str, str]]:
    """The filters in use, each with the way to remove it."""
    words = dict(list_operators()) | {"between": _("is between"), "gte": "≥", "lte": "≤", "eq": "=", "ne": "≠"}
    chips = []
    for row_filter in row_request.filters:
        filters = tuple(other for other in row_request.filters if other != row_filter)
        value = "" if row_filter.op in VALUELESS else f" {row_filter.value}"
        url = row_request.build_query(filters=filters, after="", offset=0)
        chips.append({"label": row_filter.column, "word": f"{words[row_filter.op]}{value}", "url": url})
    if row_request.search:
        url = row_request.build_query(search="", after="", offset=0)
        chips.append({"label": _("Any text"), "word": f"{words['contains']} {row_request.search}", "url": url})
    return chips
