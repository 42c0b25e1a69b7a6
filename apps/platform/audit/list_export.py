"""A list as a CSV file (RFC 4180, UTF-8): the rows that fit, in their order, with the columns that are shown.

However many there are: by keyset, in batches. Taking a list away is recorded before its first line leaves.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from django.db import connection
from django.http.response import HttpResponseBase
from django.utils import timezone

from apps.core.actors import Actor
from apps.core.lists.csv_files import build_csv_response, encode_csv, format_cell
from apps.core.lists.listing import Column, ListTable, iter_row_batches
from apps.platform.audit.services import record


def export_list(actor: Actor, table: ListTable, *, project: Any = None) -> HttpResponseBase:
    """The whole list as a download. Raises what is wrong with the query, so that nobody keeps half a list for one.

    `project`: whose list it is; None for one of the plane. The first batch is read before the answer begins.
    """
    if table.wrong is not None:
        raise table.wrong
    batches = iter_row_batches(table)
    first = list(next(batches, []))
    record(
        actor=actor,
        action="list.export",
        object_type="list",
        object_id=table.listing.key,
        project_id=project.pk if project is not None else None,
        after={"query": table.view_query[:1000], "columns": [column.key for column in table.query.columns]},
    )
    return build_csv_response(
        build_file_name(table.listing.key, project), iter_csv_lines(table.query.columns, first, batches)
    )


def build_file_name(key: str, project: Any) -> str:
    """List, project and day, so that two downloads tell themselves apart: jobs-commodities-2026-11-24."""
    parts = [key, *([project.slug] if project is not None else []), timezone.localdate().isoformat()]
    return "-".join(parts)


def iter_csv_lines(columns: Sequence[Column], first: Sequence[Any], later: Iterator[Sequence[Any]]) -> Iterator[bytes]:
    """The head, then each batch; while the reader takes one in, the connection is given back."""
    yield encode_csv([[column.key for column in columns]])
    rows: Sequence[Any] | None = first
    while rows:
        text = encode_csv([[format_cell(column.value(row)) for column in columns] for row in rows])
        if connection.vendor != "sqlite" and not connection.in_atomic_block:
            connection.close()
        yield text
        rows = next(later, None)
