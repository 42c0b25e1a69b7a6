"""Rows of a version's table for a page or a program: one page, filtered, searched or sorted by a bounded child."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from django.core.cache import caches
from django.utils.connection import ConnectionProxy

from apps.core import policy
from apps.core.actors import Actor
from apps.core.canonical import compute_digest
from apps.core.errors import Invalid, Unavailable
from apps.data.datasets.bounded_process import ProcessFault
from apps.data.datasets.models import DatasetFile, DatasetVersion
from apps.data.datasets.presenters import NUMBER_TYPES
from apps.data.datasets.queries import find_table_file
from apps.data.datasets.rows.child_reader import LIMITS, SCAN_SECONDS, ask_for_rows
from apps.data.datasets.rows.places import read_place, sign_place
from apps.data.datasets.rows.row_requests import COLUMNS_SHOWN, MAX_SORTED, PAGE_ROWS, RowRequest, refuse_masked
from apps.data.datasets.versions.manifest import JSON_LINES, PARQUET, parse_dialect
from apps.data.datasets.versions.masked_columns import find_masked_columns
from apps.data.datasets.versions.table_parts import load_parts
from deepseek.messages import N_, restore_message
from deepseek.tables.redaction import REDACTED

CACHE_SECONDS = 600
MAX_CACHED_CELLS = 20_000
JSON_TYPES = (JSON_LINES, "application/jsonl")

cache = ConnectionProxy(caches, "samples")  # this process's own


@dataclass(frozen=True, slots=True)
class TableRow:
    """A row by its number, from 1; None where a cell is missing."""

    number: int
    cells: list[str | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class RowView:
    """A page of rows. `columns` are those shown, of `column_count`, from `first_column` on.

    `total`: rows of the table, None where nobody has counted them. `matches`: rows that match, as far as was read.
    `scanned`: rows read or ruled out; `complete`: whether the answer needs no more than these. `next`: the `after` of
    the next page, or its `offset` in an order.
    """

    columns: list[dict[str, str]]
    column_count: int
    first_column: int
    rows: list[TableRow]
    total: int | None
    matches: int | None
    scanned: int
    complete: bool
    next: str | None


def list_table_files(actor: Actor, version: DatasetVersion) -> list[DatasetFile]:
    """The files of the version's table in the order of their rows: one, or the parts of one table."""
    if version.parts:
        return load_parts(version)
    table = find_table_file(actor, version)
    return [table] if table else []


def describe_source(file: DatasetFile) -> dict[str, Any] | None:
    """How the child reads this file; None for a kind that it does not read."""
    size, dialect = file.artifact.size, parse_dialect(file.media_type)
    if dialect is not None:
        return {"size": size, "format": "csv", "delimiter": dialect.delimiter, "encoding": dialect.encoding}
    if file.media_type == PARQUET:
        return {"size": size, "format": "parquet", "rows": file.rows}
    return {"size": size, "format": "json"} if file.media_type in JSON_TYPES else None


def read_row_view(
    actor: Actor,
    version: DatasetVersion,
    row_request: RowRequest,
    *,
    files: Sequence[DatasetFile] | None = None,
    **changes: Any,
) -> RowView | None:
    """The page of rows that is requested; None where the version holds no table that can be read row by row.

    `files`: another table of the version than its main one; `changes`: fields of the child's query (RowQuery).

    Raises Invalid for what is wrong with the request, or takes too much memory, Unavailable and DamagedBytes.
    """
    policy.require(actor, "dataset.view", version)
    files = list_table_files(actor, version) if files is None else files
    sources = [describe_source(file) for file in files]
    if not sources or None in sources:
        return None
    masked = find_masked_columns(version)
    refuse_masked(row_request.columns, masked)
    table = compute_digest([file.artifact_id for file in files])
    if row_request.after and not is_row_number(row_request.after):
        row_request = replace(row_request, after=read_place(table, row_request.after, "after"))
    query = build_child_query(version, row_request, sources, masked) | changes
    key = f"rows:{compute_digest({'table': table, 'query': query})}"
    document = cache.get(key)
    if document is None:
        document = ask_child(files, query)
        if document["complete"] and len(document["rows"]) * len(document["columns"]) <= MAX_CACHED_CELLS:
            cache.set(key, document, CACHE_SECONDS)
    view = build_view(version, row_request, document, masked)
    if row_request.sort or view.next is None or is_row_number(view.next):
        return view
    return replace(view, next=sign_place(table, view.next))


def is_row_number(place: str) -> bool:
    return place.isascii() and place.isdigit()


def build_child_query(
    version: DatasetVersion, row_request: RowRequest, sources: Sequence[Any], masked: set[str]
) -> dict[str, Any]:
    names = [str(column.get("name", "")) for column in version.columns]
    return {
        "files": sources,
        "filters": [asdict(row_filter) for row_filter in row_request.filters],
        "search": row_request.search,
        "sort": row_request.sort,
        "descending": row_request.descending,
        "offset": row_request.offset,
        "limit": row_request.limit,
        "after": row_request.after,
        "count": row_request.count,
        "seconds": SCAN_SECONDS,
        "first_column": row_request.first_column,
        "max_columns": COLUMNS_SHOWN,
        "names": names,
        "numeric": [
            name
            for name, column in zip(names, version.columns, strict=True)
            if str(column.get("dtype", "")).startswith(NUMBER_TYPES)
        ],
        "hidden": sorted(masked),
    }


def ask_child(files: Sequence[DatasetFile], query: Mapping[str, Any]) -> dict[str, Any]:
    answer = ask_for_rows([file.artifact for file in files], query)
    if answer.errors:
        error = answer.errors[0]
        hint = restore_message(error, "hint") or None
        raise Invalid(restore_message(error), code=error["code"], field=error["field"], limit=error["limit"], hint=hint)
    if answer.document is None:
        raise build_fault_error(answer.fault)
    return dict(answer.document)


def build_fault_error(fault: ProcessFault | None) -> Invalid | Unavailable:
    if fault is ProcessFault.TIME:
        return Invalid(
            "Reading these rows took longer than {seconds} s, and was stopped.",
            seconds=LIMITS.seconds,
            code="rows_too_slow",
            field="column",
            limit=f"{LIMITS.seconds} s",
            hint=N_("Use a filter that rules out more rows, or have a job filter the table."),
        )
    if fault is ProcessFault.MEMORY:
        most = f"{LIMITS.memory >> 20} MiB"
        return Invalid(
            "Reading these rows takes more than {most} of memory.",
            most=most,
            code="rows_too_much_memory",
            field="column",
            limit=most,
            hint=N_("Download the file, or have a job filter the table."),
        )
    return Unavailable(
        "The rows could not be read on this host; the log of the web process says why.",
        code="rows_unread",
        hint=N_("Try again; if it stays so, tell the operator."),
    )


def build_view(
    version: DatasetVersion, row_request: RowRequest, document: Mapping[str, Any], masked: set[str]
) -> RowView:
    first = row_request.first_column
    columns = document["columns"]
    hidden = {place for place, column in enumerate(columns) if column["name"] in masked}
    rows = [
        TableRow(
            row["number"] + 1,
            [REDACTED if place in hidden and cell is not None else cell for place, cell in enumerate(row["cells"])],
        )
        for row in document["rows"]
    ]
    total = document["total"] if document["total"] is not None else version.rows
    following = document["next"]
    if row_request.sort and following is not None and int(following) > MAX_SORTED - PAGE_ROWS:
        following = None
    return RowView(
        columns=columns,
        column_count=document["column_count"],
        first_column=first,
        rows=rows,
        total=total,
        matches=document["matches"] if row_request.filters or row_request.search else total,
        scanned=document["scanned"],
        complete=document["complete"],
        next=following,
    )
