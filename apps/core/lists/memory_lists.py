"""Lists that are in memory before they are ordered: of what is computed, or gathered from several rows each."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.http import QueryDict

from apps.core.errors import Invalid
from apps.core.lists.listing import Listing, ListTable, Row, build_default_query, parse_list_query
from apps.core.lists.pages import paginate_in_memory


def build_table_in_memory(
    listing: Listing,
    params: QueryDict,
    rows: Callable[[], list[Any]],
    *,
    key: Callable[[Any], str],
    filters: list[Row],
    builtin: list[Row] | None = None,
) -> ListTable:
    """`build_table` for a list that is in memory anyway, ordered by what its columns say; `key` names a row.

    What has no value in the order asked for comes last, upwards and downwards.
    """
    table = ListTable(listing, build_default_query(listing), params, filters=filters, builtin=builtin or [])
    try:
        table.query = parse_list_query(listing, params)
        items = rows()
    except Invalid as error:
        table.wrong = error
        return table
    column = listing.get_column(table.query.sort.removeprefix("-"))
    assert column is not None  # noqa: S101  read_asked has just found it
    table.rows = sort_rows(items, column.value, down=table.query.sort.startswith("-"))
    table.total = len(items)
    if not table.query.csv:
        cursor, limit = params.get("cursor") or None, table.query.limit
        table.page = paginate_in_memory(table.rows, key=key, order=table.query.sort, cursor=cursor, limit=limit)
        table.rows = table.page.items
    return table


def sort_rows(rows: list[Any], value: Callable[[Any], Any], *, down: bool) -> list[Any]:
    valued = [row for row in rows if value(row) is not None]
    return sorted(valued, key=value, reverse=down) + [row for row in rows if value(row) is None]
