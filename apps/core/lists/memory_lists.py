"""Lists that are in memory before they are ordered: of what is computed, or gathered from several rows each."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.http import QueryDict

from apps.core.errors import Invalid
from apps.core.lists.listing import Listing, Row, Table, plain_asked, read_asked
from apps.core.lists.pages import page_in_memory


def table_in_memory(
    listing: Listing,
    params: QueryDict,
    rows: Callable[[], list[Any]],
    *,
    key: Callable[[Any], str],
    filters: list[Row],
    builtin: list[Row] | None = None,
) -> Table:
    """`table_of` for a list that is in memory anyway, ordered by what its columns say; `key` names a row.

    What has no value in the order asked for comes last, upwards and downwards.
    """
    table = Table(listing, plain_asked(listing), params, filters=filters, builtin=builtin or [])
    try:
        table.asked = read_asked(listing, params)
        found = rows()
    except Invalid as error:
        table.wrong = error
        return table
    column = listing.column(table.asked.sort.removeprefix("-"))
    assert column is not None  # noqa: S101  read_asked has just found it
    table.rows = in_order(found, column.value, down=table.asked.sort.startswith("-"))
    table.total = len(found)
    if not table.asked.csv:
        cursor, limit = params.get("cursor") or None, table.asked.limit
        table.page = page_in_memory(table.rows, key=key, order=table.asked.sort, cursor=cursor, limit=limit)
        table.rows = table.page.items
    return table


def in_order(rows: list[Any], value: Callable[[Any], Any], *, down: bool) -> list[Any]:
    there = [row for row in rows if value(row) is not None]
    return sorted(there, key=value, reverse=down) + [row for row in rows if value(row) is None]
