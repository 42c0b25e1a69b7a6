"""A search over one table: conditions and an order in, a page of ids and the next token out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from apps.ml.experiments.filters.grammar import Comparison
from apps.ml.experiments.filters.orders import Order
from apps.ml.experiments.filters.sql import TRUE, Sql, all_of, exists, rows_of, text_condition
from apps.ml.experiments.search.paging import Column, behind, edge_of, make_token, order_of, read_token


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """`source` names the tables, `key` the column with the ids; `identity` is what its page tokens are bound to."""

    source: Sql
    key: str
    conditions: Sequence[Sql]
    columns: Sequence[Column]
    identity: Sequence[Any]


def page_of_ids(search: Search, limit: int, token: str) -> tuple[list[Any], str]:
    """At most `limit` ids in order, and the token of the next page, "" where there is none. Raises BadToken."""
    conditions = list(search.conditions)
    if token:
        conditions.append(behind(search.columns, read_token(search.identity, [search.columns], token)[1]))
    where = all_of(conditions)
    keys = ", ".join(column.compared for column in search.columns)
    text = (
        f"SELECT {search.key}, {keys} FROM {search.source.text} WHERE {where.text} ORDER BY {order_of(search.columns)}"
    )
    rows = rows_of(Sql(f"{text} LIMIT %s", (*search.source.params, *where.params, limit + 1)))
    more = ""
    if len(rows) > limit:
        rows = rows[:limit]
        more = make_token(search.identity, 0, edge_of(search.columns, rows[-1][1:])) if rows else ""
    return [row[0] for row in rows], more


def in_order(ids: Sequence[Any], rows: Mapping[Any, Any]) -> list[Any]:
    """The rows of these ids; one that has gone since is left out."""
    return [rows[key] for key in ids if key in rows]


def of_key(table: str, owner: str, key: str, comparison: Comparison, value: Callable[[Comparison], Sql]) -> Sql:
    """A row in `table`, whose column `owner` is `key`, has the key of the comparison, and its value holds."""
    condition = TRUE if comparison.value is None else value(comparison)
    text = f"{table} x WHERE x.{owner} = {key} AND x.key = %s AND {condition.text}"
    rows = Sql(text, (comparison.key, *condition.params))
    return exists(rows, negated=comparison.operator == "IS NULL", apart=True)


def text_value(comparison: Comparison) -> Sql:
    return text_condition("x.value", comparison.operator, comparison.value)  # type: ignore[arg-type]


def ordered(orders: Sequence[Order], columns: Mapping[str, Column], ties: Sequence[tuple[str, bool]]) -> list[Column]:
    """The columns of these orders, then those of the ties (name, downwards) that no order names."""
    named = [(order.key, order.down) for order in orders]
    keys = {key for key, _ in named}
    return [
        Column(columns[key].text, columns[key].sort, down)
        for key, down in [*named, *(tie for tie in ties if tie[0] not in keys)]
    ]
