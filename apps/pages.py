"""Keyset paging: the next page begins behind the last row seen, so page 1000 costs what page 1 costs.

One query per page, never a COUNT(*), and rows that appear or vanish meanwhile shift nothing. REST
(controlplane/rest.py) and the HTML lists share it.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, Generic, TypeVar
from uuid import UUID

from django.core.exceptions import FieldDoesNotExist, ValidationError
from django.db import models
from django.utils.timezone import is_naive

from apps.errors import Invalid, Malformed

M = TypeVar("M", bound=models.Model)

DEFAULT_LIMIT = 50
MAX_LIMIT = 200
MAX_CURSOR = 1000  # characters; the longest honest cursor is far below
NEWEST_FIRST = ("-id",)
FORWARD, BACKWARD = "n", "p"


@dataclass(frozen=True, slots=True)
class Page(Generic[M]):
    """Some rows in order, and the cursors of the pages around them; None where there is no such page."""

    items: list[M]
    next: str | None
    previous: str | None


def page_of(
    queryset: models.QuerySet[M],
    *,
    cursor: str | None = None,
    limit: int = DEFAULT_LIMIT,
    order: Sequence[str] = NEWEST_FIRST,
) -> Page[M]:
    """The page of at most `limit` rows that `cursor` names, or the first one.

    `order` lists fields, `-` for descending; none may be null and together they must be unique, so end it with
    the key. Give the table an index over the same fields. Raises Malformed for a cursor that is not ours.
    """
    direction, edge = read_cursor(queryset.model, order, cursor) if cursor else (FORWARD, None)
    backward = direction == BACKWARD
    asked = [flipped(name) for name in order] if backward else list(order)
    rows = queryset.order_by(*asked)
    if edge is not None:
        rows = rows.filter(behind(asked, edge))
    found = list(rows[: limit + 1])
    more, items = len(found) > limit, found[:limit]
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


def page_asked(
    queryset: models.QuerySet[M], params: Mapping[str, Any], *, order: Sequence[str] = NEWEST_FIRST
) -> Page[M]:
    """`page_of` with `cursor` and `limit` as a query string gave them (request.GET)."""
    return page_of(queryset, cursor=params.get("cursor") or None, limit=read_limit(params.get("limit")), order=order)


def read_limit(text: str | None) -> int:
    """The page size that was asked for; Invalid outside 1..200 or when it is no number."""
    if not text:
        return DEFAULT_LIMIT
    if text.isascii() and text.isdigit() and len(text) <= 9 and 1 <= int(text) <= MAX_LIMIT:
        return int(text)
    raise Invalid(
        f"limit is {text[:40]!r}; it must be a whole number from 1 to {MAX_LIMIT}.",
        code="limit_out_of_range",
        field="limit",
        limit=MAX_LIMIT,
        hint="Follow `next` for more rows.",
    )


def flipped(name: str) -> str:
    return name[1:] if name.startswith("-") else f"-{name}"


def behind(order: Sequence[str], edge: Sequence[Any]) -> models.Q:
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
    values = [plain(value_at(row, name.lstrip("-"))) for name in order]
    text = json.dumps([direction, ",".join(order), values], separators=(",", ":"))
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def read_cursor(model: type[models.Model], order: Sequence[str], cursor: str) -> tuple[str, list[Any]]:
    """Direction and edge values of a cursor made for this order; Malformed for anything else."""
    try:
        if len(cursor) > MAX_CURSOR:
            raise ValueError("too long")
        text = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True).decode()
        direction, made_for, values = json.loads(text)
        if direction not in {FORWARD, BACKWARD} or made_for != ",".join(order) or len(values) != len(order):
            raise ValueError("of another list")
        edge = [typed(field_at(model, name.lstrip("-")), value) for name, value in zip(order, values, strict=True)]
    except (ValueError, TypeError, OverflowError, RecursionError, ValidationError) as error:
        raise Malformed(
            f"cursor {cursor[:60]!r} is not one that this list gave out.",
            code="bad_cursor",
            field="cursor",
            hint="Leave it out for the first page, then send the `next` of each answer unchanged.",
        ) from error
    return direction, edge


def field_at(model: type[models.Model], path: str) -> models.Field[Any, Any]:
    """The column that a lookup path such as `pk`, `created_at` or `artifact__size` ends in."""
    *parents, last = path.split("__")
    for parent in parents:
        model = model._meta.get_field(parent).related_model  # type: ignore[assignment]
    field = model._meta.pk if last == "pk" else model._meta.get_field(last)
    if not isinstance(field, models.Field) or field.null:
        raise FieldDoesNotExist(f"{model.__name__}.{last} cannot order a list: it must be a column that is never null.")
    return field.target_field if isinstance(field, models.ForeignKey) else field


def value_at(row: models.Model, path: str) -> Any:
    value: Any = row
    for name in path.split("__"):
        value = getattr(value, name)
    return value.pk if isinstance(value, models.Model) else value


def plain(value: Any) -> Any:
    if isinstance(value, datetime | date):
        return value.isoformat()
    return str(value) if isinstance(value, UUID) else value


def typed(field: models.Field[Any, Any], value: Any) -> Any:
    """The value as its column knows it; what the database would choke on (null, NUL, 2^70) is a ValidationError."""
    if not isinstance(value, str | int | float) or (isinstance(value, str) and "\x00" in value):
        raise ValidationError("not a value of this column")
    known = field.to_python(value)
    if isinstance(known, datetime) and is_naive(known):
        raise ValidationError("a time without a zone")
    field.run_validators(known)
    return known
