"""A list as a CSV file (RFC 4180, UTF-8): the rows that fit, in their order, with the columns that are shown.

However many there are: by keyset, in batches. Taking a list away is recorded before its first line leaves.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Iterator, Sequence
from datetime import date, datetime
from typing import Any

from django.db import connection
from django.http import StreamingHttpResponse
from django.utils import timezone

from apps.actors import Actor
from apps.audit.services import record
from apps.listing import Column, Table, rows_in_batches

# What a spreadsheet takes for a formula. A number may begin with a sign; nothing else may.
FORMULA = ("=", "+", "-", "@", "\t", "\r")
NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?")
PLAIN_NAME = re.compile(r"[^A-Za-z0-9_-]+")


def csv_response(actor: Actor, table: Table, *, project: Any = None) -> StreamingHttpResponse:
    """The whole list as a download. Raises what is wrong with the query, so that nobody keeps half a list for one.

    `project`: whose list it is; None for one of the plane. The first batch is read before the answer begins.
    """
    if table.wrong is not None:
        raise table.wrong
    found = rows_in_batches(table)
    first = list(next(found, []))
    record(
        actor=actor,
        action="list.export",
        object_type="list",
        object_id=table.listing.key,
        project_id=project.pk if project is not None else None,
        after={"query": table.view_query[:1000], "columns": [column.key for column in table.asked.columns]},
    )
    headers = {
        "Cache-Control": "no-store",
        "X-Content-Type-Options": "nosniff",
        "Content-Disposition": f'attachment; filename="{file_name(table.listing.key, project)}"',
    }
    lines = lines_of(table.asked.columns, first, found)
    return StreamingHttpResponse(lines, content_type="text/csv; charset=utf-8", headers=headers)


def file_name(key: str, project: Any) -> str:
    """List, project and day, so that two downloads tell themselves apart: jobs-commodities-2026-11-24.csv."""
    parts = [key, *([project.slug] if project is not None else []), timezone.localdate().isoformat()]
    return "-".join(PLAIN_NAME.sub("-", part) for part in parts) + ".csv"


def lines_of(columns: Sequence[Column], first: Sequence[Any], later: Iterator[Sequence[Any]]) -> Iterator[bytes]:
    """The head, then each batch; while the reader takes one in, the connection is given back."""
    yield written([[column.key for column in columns]])
    rows: Sequence[Any] | None = first
    while rows:
        text = written([[cell(column.value(row)) for column in columns] for row in rows])
        if connection.vendor != "sqlite" and not connection.in_atomic_block:
            connection.close()
        yield text
        rows = next(later, None)


def written(rows: Iterable[Sequence[str]]) -> bytes:
    text = io.StringIO(newline="")
    csv.writer(text).writerows(rows)
    return text.getvalue().encode(errors="replace")


def cell(value: Any) -> str:
    """A value as text that a program reads back and that no spreadsheet runs."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, datetime | date):
        return value.isoformat()
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, list | tuple):
        value = ", ".join(str(one) for one in value)
    return safe(str(value))


def safe(text: str) -> str:
    """What a spreadsheet would take for a formula begins with an apostrophe, as OWASP has it."""
    return f"'{text}" if text.startswith(FORMULA) and not NUMBER.fullmatch(text) else text
