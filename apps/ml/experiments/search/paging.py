"""Orders as columns that are never null, the rows behind an edge in them, and the page token that keeps the edge.

A token is opaque, not secret: it says where in an order to go on, what may be seen is the query's. It carries a digest
of the query it was made for, so that one of another query is refused instead of leading nowhere.
"""

from __future__ import annotations

import base64
import hashlib
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from apps.core.errors import Invalid
from apps.core.lists.pages import is_storable
from apps.ml.experiments.filters.sql import (
    BIGGEST,
    FIRST_MS,
    LAST_MS,
    Sql,
    convert_to_timestamp,
    get_microseconds,
    is_postgres,
)

MAX_TOKEN = 200_000  # characters: an edge may hold the longest values of twenty parameters


class BadToken(Invalid):
    code = "bad_page_token"

    def __init__(self, message: str) -> None:
        super().__init__(message, field="page_token")  # no hint: the text is MLflow's


class ColumnType(StrEnum):
    TEXT = "text"
    ID = "id"  # a text that is compared as its index does: of hex digits
    NUMBER = "number"
    WHOLE = "whole"
    MOMENT = "moment"


@dataclass(frozen=True, slots=True)
class OrderColumn:
    """One part of an order: an expression without parameters that is never null."""

    text: str
    sort: ColumnType
    down: bool = False

    @property
    def compared(self) -> str:
        """Texts by their code points, whatever the database's own order is; SQLite does so anyway."""
        return f'{self.text} COLLATE "C"' if self.sort == ColumnType.TEXT and is_postgres() else self.text

    @property
    def direction(self) -> str:
        return "DESC" if self.down else "ASC"


def format_order(columns: Sequence[OrderColumn]) -> str:
    return ", ".join(f"{column.compared} {column.direction}" for column in columns)


def build_cursor_filter(columns: Sequence[OrderColumn], edge: Sequence[Any]) -> Sql:
    """Rows after `edge` in this order. The bound on the first column stands by itself too: an index is walked by it."""
    text = ""
    params: tuple[Any, ...] = ()
    for column, value in reversed(list(zip(columns, edge, strict=True))):
        sign = "<" if column.down else ">"
        param = convert_parameter(column, value)
        if text:
            text = f"({column.compared} {sign} %s OR ({column.compared} = %s AND {text}))"
            params = (param, param, *params)
        else:
            text, params = f"{column.compared} {sign} %s", (param,)
    first = columns[0]
    bound = f"{first.compared} {'<=' if first.down else '>='} %s"
    return Sql(f"{bound} AND {text}", (convert_parameter(first, edge[0]), *params))


def convert_parameter(column: OrderColumn, value: Any) -> Any:
    return convert_to_timestamp(value) if column.sort == ColumnType.MOMENT else value


def serialize_edge(columns: Sequence[OrderColumn], values: Sequence[Any]) -> list[Any]:
    """The values of a row in the columns of its order, as JSON has them."""
    return [
        get_microseconds(value) if column.sort == ColumnType.MOMENT else value
        for column, value in zip(columns, values, strict=True)
    ]


# -- tokens ---------------------------------------------------------------------------------------------------------
def compute_query_digest(query: Any) -> str:
    return hashlib.sha256(json.dumps(query, sort_keys=True).encode()).hexdigest()[:16]


def encode_token(query: Any, segment: int, edge: Sequence[Any]) -> str:
    text = json.dumps([compute_query_digest(query), segment, list(edge)], separators=(",", ":"))
    return base64.urlsafe_b64encode(text.encode()).decode()


def decode_token(query: Any, orders: Sequence[Sequence[OrderColumn]], token: str) -> tuple[int, list[Any]]:
    """Segment and edge of a token made for this query; `orders`: the columns of each segment. Raises BadToken."""
    try:
        if len(token) > MAX_TOKEN:
            raise ValueError("too long")
        raw = base64.b64decode(token.encode("ascii"), altchars=b"-_", validate=True)
    except ValueError:
        raise BadToken("Invalid page token, could not base64-decode") from None
    try:
        digest, segment, edge = json.loads(raw.decode())
        if type(segment) is not int or not 0 <= segment < len(orders) or len(edge) != len(orders[segment]):
            raise ValueError("of another order")
        if not all(is_valid_value(column.sort, value) for column, value in zip(orders[segment], edge, strict=True)):
            raise ValueError("of other columns")
    except (ValueError, TypeError, RecursionError):
        raise BadToken("Invalid page token, it is not one that this search gave out") from None
    if digest != compute_query_digest(query):
        raise BadToken("Invalid page token, it was given out for another query")
    return segment, list(edge)


def is_valid_value(sort: ColumnType, value: Any) -> bool:
    if sort in (ColumnType.TEXT, ColumnType.ID):
        return isinstance(value, str) and is_storable(value)
    if sort == ColumnType.NUMBER:
        return type(value) in (int, float) and not math.isnan(value) and abs(value) <= 1.7976931348623157e308
    if type(value) is not int:
        return False
    return FIRST_MS * 1000 <= value <= LAST_MS * 1000 if sort == ColumnType.MOMENT else abs(value) <= BIGGEST
