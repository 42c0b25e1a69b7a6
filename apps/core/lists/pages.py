"""Keyset paging: the next page begins behind the last row seen, so page 1000 costs what page 1 costs.

One query per page, never a COUNT(*), and rows that appear or vanish meanwhile shift nothing. REST
(controlplane/rest.py) and the HTML lists share it.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, Generic, TypeVar
from uuid import UUID

from django.core.exceptions import FieldDoesNotExist, ValidationError
from django.db import models
from django.utils.timezone import is_naive

from apps.core.errors import Invalid, Malformed
from apps.core.request_values import parse_int
from deepseek.messages import N_

M = TypeVar("M", bound=models.Model)
R = TypeVar("R")

DEFAULT_LIMIT = 50
MAX_LIMIT = 200
MAX_CURSOR_LENGTH = 3000  # characters; the longest honest cursor names a path of 500 characters of four bytes each
NEWEST_FIRST = ("-id",)
FORWARD, BACKWARD = "n", "p"


@dataclass(frozen=True, slots=True)
class Page(Generic[R]):
    """Some rows in order, and the cursors of the pages around them; None where there is no such page."""

    items: list[R]
    next: str | None
    previous: str | None


def fetch_page(
    queryset: models.QuerySet[M],
    *,
    cursor: str | None = None,
    limit: int = DEFAULT_LIMIT,
    order: Sequence[str] = NEWEST_FIRST,
    present: Collection[str] = (),
) -> Page[M]:
    """The page of at most `limit` rows that `cursor` names, or the first one.

    `order` lists fields, `-` for descending; none may be null and together they must be unique, so end it with
    the key. Give the table an index over the same fields. `present`: fields that may be null but in no row of
    `queryset` are. Raises Malformed for a cursor that is not ours.
    """
    direction, edge = parse_cursor(queryset.model, order, cursor, present) if cursor else (FORWARD, None)
    backward = direction == BACKWARD
    ordering = [reverse_ordering(name) for name in order] if backward else list(order)
    rows = queryset.order_by(*ordering)
    if edge is not None:
        rows = rows.filter(build_cursor_filter(ordering, edge))
    window = list(rows[: limit + 1])
    more, items = len(window) > limit, window[:limit]
    if backward:
        items.reverse()
    if not items:
        return Page([], None, None)
    has_next, has_previous = (True, more) if backward else (more, edge is not None)
    return Page(
        items,
        make_cursor(FORWARD, order, items[-1]) if has_next else None,
        make_cursor(BACKWARD, order, items[0]) if has_previous else None,
    )


def paginate(
    queryset: models.QuerySet[M],
    params: Mapping[str, Any],
    *,
    order: Sequence[str] = NEWEST_FIRST,
    present: Collection[str] = (),
) -> Page[M]:
    """`fetch_page` with `cursor` and `limit` as a query string gave them (request.GET)."""
    cursor, limit = params.get("cursor") or None, parse_limit(params.get("limit"))
    return fetch_page(queryset, cursor=cursor, limit=limit, order=order, present=present)


def parse_limit(text: str | None, default: int = DEFAULT_LIMIT) -> int:
    """The page size that was asked for, or else `default`; Invalid outside 1..200 or when it is no number."""
    if not text:
        return default
    if (limit := parse_int(text, 1, MAX_LIMIT)) is not None:
        return limit
    raise Invalid(
        "limit is {text!r}; it must be a whole number from 1 to {max_limit}.",
        text=text[:40],
        max_limit=MAX_LIMIT,
        code="limit_out_of_range",
        field="limit",
        limit=MAX_LIMIT,
        hint=N_("Follow `next` for more rows."),
    )


def reverse_ordering(name: str) -> str:
    return name[1:] if name.startswith("-") else f"-{name}"


def build_cursor_filter(order: Sequence[str], edge: Sequence[Any]) -> models.Q:
    """Rows after `edge` in `order`: a<x, or a=x and b<y, and so on.

    The bound on the first field is said once more by itself: planners walk an index by it, an OR they scan.
    """
    either = models.Q()
    equal: dict[str, Any] = {}
    for name, value in zip(order, edge, strict=True):
        field = name.lstrip("-")
        either |= models.Q(**equal, **{f"{field}__{'lt' if name.startswith('-') else 'gt'}": value})
        equal[field] = value
    if len(order) == 1:
        return either
    first = order[0].lstrip("-")
    return models.Q(**{f"{first}__{'lte' if order[0].startswith('-') else 'gte'}": edge[0]}) & either


def make_cursor(direction: str, order: Sequence[str], row: models.Model) -> str:
    """Opaque, not secret: a cursor only says where in an order to go on, visibility is the query's."""
    values = [encode_cursor_value(resolve_value(row, name.lstrip("-"))) for name in order]
    return encode_cursor([direction, ",".join(order), values])


def encode_cursor(cursor: list[Any]) -> str:
    text = json.dumps(cursor, separators=(",", ":"), ensure_ascii=False)
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def decode_cursor(cursor: str) -> list[Any]:
    """What `encode_cursor` was given; ValueError or RecursionError for anything else."""
    if len(cursor) > MAX_CURSOR_LENGTH:
        raise ValueError("too long")
    parts = json.loads(base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True).decode())
    if not isinstance(parts, list):
        raise ValueError("no list")
    return parts


def parse_cursor(
    model: type[models.Model], order: Sequence[str], cursor: str, present: Collection[str] = ()
) -> tuple[str, list[Any]]:
    """Direction and edge values of a cursor made for this order; Malformed for anything else."""
    try:
        direction, made_for, values = decode_cursor(cursor)
        if direction not in {FORWARD, BACKWARD} or made_for != ",".join(order) or len(values) != len(order):
            raise ValueError("of another list")
        names = [name.lstrip("-") for name in order]
        fields = [resolve_field(model, name, nullable=name in present) for name in names]
        edge = [decode_cursor_value(column, value) for column, value in zip(fields, values, strict=True)]
    except (ValueError, TypeError, OverflowError, RecursionError, ValidationError) as error:
        raise build_cursor_error(cursor) from error
    return direction, edge


def build_cursor_error(cursor: str) -> Malformed:
    return Malformed(
        "cursor {cursor!r} is not one that this list gave out.",
        cursor=cursor[:60],
        code="bad_cursor",
        field="cursor",
        hint=N_("Leave it out for the first page, then send the `next` of each answer unchanged."),
    )


def resolve_field(model: type[models.Model], path: str, *, nullable: bool = False) -> models.Field[Any, Any]:
    """The column that a lookup path such as `pk`, `created_at` or `artifact__size` ends in."""
    *parents, last = path.split("__")
    for parent in parents:
        model = model._meta.get_field(parent).related_model  # type: ignore[assignment]
    field = model._meta.pk if last == "pk" else model._meta.get_field(last)
    if not isinstance(field, models.Field) or (field.null and not nullable):
        raise FieldDoesNotExist(f"{model.__name__}.{last} cannot order a list: it must be a column that is never null.")
    return field.target_field if isinstance(field, models.ForeignKey) else field


def resolve_value(row: models.Model, path: str) -> Any:
    value: Any = row
    for name in path.split("__"):
        value = getattr(value, name)
    return value.pk if isinstance(value, models.Model) else value


def encode_cursor_value(value: Any) -> Any:
    if isinstance(value, datetime | date):
        return value.isoformat()
    return str(value) if isinstance(value, UUID) else value


def decode_cursor_value(field: models.Field[Any, Any], value: Any) -> Any:
    """The value as its column knows it; what the database would choke on (null, NUL, 2^70) is a ValidationError."""
    if not isinstance(value, str | int | float) or (isinstance(value, str) and not is_storable(value)):
        raise ValidationError("not a value of this column")
    parsed = field.to_python(value)
    if isinstance(parsed, datetime) and is_naive(parsed):
        raise ValidationError("a time without a zone")
    field.run_validators(parsed)
    return parsed


def is_storable(text: str) -> bool:
    """Whether a database takes it: no NUL, no half of a surrogate pair."""
    return "\x00" not in text and not any("\ud800" <= letter <= "\udfff" for letter in text)


# -- lists in memory ------------------------------------------------------------------------------------------------
def paginate_in_memory(
    rows: Sequence[R], *, key: Callable[[R], str], order: str = "", cursor: str | None = None, limit: int
) -> Page[R]:
    """`fetch_page` for rows that are in memory anyway, in the order that is called `order`; `key` names a row.

    A cursor names the row at the edge of its page, and its place: should the row have gone, the page begins there.
    """
    direction, name, position = parse_memory_cursor(order, cursor) if cursor else (FORWARD, "", 0)
    index = next((at for at, row in enumerate(rows) if key(row) == name), None) if cursor else None
    edge = position if index is None else index
    if direction == BACKWARD:
        start, end = max(0, edge - limit), edge
    else:
        start = edge if index is None else edge + 1
        end = start + limit
    items = list(rows[start:end])
    if not items:
        return Page([], None, None)
    return Page(
        items,
        encode_cursor([FORWARD, order, key(items[-1]), start + len(items) - 1]) if end < len(rows) else None,
        encode_cursor([BACKWARD, order, key(items[0]), start]) if start else None,
    )


def parse_memory_cursor(order: str, cursor: str) -> tuple[str, str, int]:
    """Direction, name and place of a cursor that `page_in_memory` made for this order; Malformed for another."""
    try:
        direction, made_for, name, position = decode_cursor(cursor)
        is_valid = (
            direction in {FORWARD, BACKWARD} and made_for == order and isinstance(name, str) and is_storable(name)
        )
        if not is_valid or type(position) is not int or not 0 <= position < 10**9:
            raise ValueError("of another list")
    except (ValueError, TypeError, RecursionError) as error:
        raise build_cursor_error(cursor) from error
    return direction, name, position
