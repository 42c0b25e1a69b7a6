"""A search over one table: conditions and an order in, a page of ids and the next token out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from apps.ml.experiments.filters.grammar import Comparison
from apps.ml.experiments.filters.orders import Order
from apps.ml.experiments.filters.sql import TRUE, Sql, build_exists, build_text_condition, fetch_rows, join_with_and
from apps.ml.experiments.search.paging import (
    OrderColumn,
    build_cursor_filter,
    decode_token,
    encode_token,
    format_order,
    serialize_edge,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class TableSearch:
    """`source` names the tables, `key` the column with the ids; `identity` is what its page tokens are bound to."""

    source: Sql
    key: str
    conditions: Sequence[Sql]
    columns: Sequence[OrderColumn]
    identity: Sequence[Any]


def fetch_page_ids(search: TableSearch, limit: int, token: str) -> tuple[list[Any], str]:
    """At most `limit` ids in order, and the token of the next page, "" where there is none. Raises BadToken."""
    conditions = list(search.conditions)
    if token:
        conditions.append(
            build_cursor_filter(search.columns, decode_token(search.identity, [search.columns], token)[1])
        )
    where = join_with_and(conditions)
    keys = ", ".join(column.compared for column in search.columns)
    order = format_order(search.columns)
    text = f"SELECT {search.key}, {keys} FROM {search.source.text} WHERE {where.text} ORDER BY {order}"
    rows = fetch_rows(Sql(f"{text} LIMIT %s", (*search.source.params, *where.params, limit + 1)))
    more = ""
    if len(rows) > limit:
        rows = rows[:limit]
        more = encode_token(search.identity, 0, serialize_edge(search.columns, rows[-1][1:])) if rows else ""
    return [row[0] for row in rows], more


def order_rows(ids: Sequence[Any], rows: Mapping[Any, Any]) -> list[Any]:
    """The rows of these ids; one that has gone since is left out."""
    return [rows[key] for key in ids if key in rows]


def build_key_condition(
    table: str, owner: str, key: str, comparison: Comparison, value: Callable[[Comparison], Sql]
) -> Sql:
    """A row in `table`, whose column `owner` is `key`, has the key of the comparison, and its value holds."""
    condition = TRUE if comparison.value is None else value(comparison)
    text = f"{table} x WHERE x.{owner} = {key} AND x.key = %s AND {condition.text}"
    rows = Sql(text, (comparison.key, *condition.params))
    return build_exists(rows, negated=comparison.operator == "IS NULL", apart=True)


def build_text_value_condition(comparison: Comparison) -> Sql:
    return build_text_condition("x.value", comparison.operator, comparison.value)  # type: ignore[arg-type]


def build_order_columns(
    orders: Sequence[Order], columns: Mapping[str, OrderColumn], ties: Sequence[tuple[str, bool]]
) -> list[OrderColumn]:
    """The columns of these orders, then those of the ties (name, downwards) that no order names."""
    requested = [(order.key, order.down) for order in orders]
    keys = {key for key, _ in requested}
    return [
        OrderColumn(columns[key].text, columns[key].sort, down)
        for key, down in [*requested, *(tie for tie in ties if tie[0] not in keys)]
    ]
