"""What every list of the product shares: its columns, the order, what narrows it, its rows as lines of a file.

An app describes its list as data (apps/<app>/lists.py). What a reader asks of it stands whole in the query, so that a
list has an address: `columns`, `sort`, the filters, `cursor`, `limit`, `format=csv`. Nonsense is said, never a fault.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, time, timedelta
from typing import Any
from urllib.parse import urlencode

from django.db import models
from django.http import QueryDict
from django.utils import timezone
from django.utils.dateparse import parse_date
from django.utils.translation import gettext as _
from drf_spectacular.utils import OpenApiParameter

from apps.core.errors import Invalid, PlaneError
from apps.core.lists.pages import (
    DEFAULT_LIMIT,
    Page,
    build_cursor_filter,
    fetch_page,
    parse_limit,
    resolve_value,
    reverse_ordering,
)
from apps.core.request_values import validate_choice
from deepseek.messages import N_

ROWS_PER_BATCH = 500  # rows of one query while a file is written
MOST_COLUMNS = 60
MAX_FILTER_LENGTH = 200  # characters of a filter
OWN_KEYS = ("columns", "sort", "cursor", "limit", "format", "view")  # of a query, beside the filters
DAYS_BACK = re.compile(r"([0-9]{1,4})d")
RowTransform = Callable[[list[Any]], Sequence[Any]]
Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a list. The template draws its cell; `value` is what a CSV file says there.

    `order`: the fields, upwards, by which its head sorts. An index must walk them; together they are unique, and none
    may be null, but in a `sparse` column the first: rows without a value then have no place in that order.
    """

    key: str
    label: Any
    value: Callable[[Any], Any]
    order: tuple[str, ...] = ()
    numeric: bool = False
    default_visible: bool = True  # before anybody has picked
    down: bool = False  # the first press sorts downwards: for times and sizes
    sparse: bool = False


@dataclass(frozen=True, slots=True)
class Listing:
    """A list: its first column names the row and is always shown."""

    key: str  # under which people save views of it
    columns: tuple[Column, ...]
    sort: str  # where the query asks for no order

    def get_column(self, key: str) -> Column | None:
        return next((column for column in self.columns if column.key == key), None)

    @property
    def sortable(self) -> tuple[Column, ...]:
        return tuple(column for column in self.columns if column.order)


@dataclass(frozen=True, slots=True)
class ListQuery:
    """What a query asks of a list, every part of it valid."""

    columns: tuple[Column, ...]
    sort: str
    order: tuple[str, ...]
    sparse: str = ""  # the field without which a row has no place in this order
    limit: int = 50
    csv: bool = False


def mark_list_view(listing: str) -> Callable[[Any], Any]:
    """Mark a view as the page of this list: whoever saved a view of it as their first is led to that one."""

    def mark(view: Any) -> Any:
        view.listing = listing
        return view

    return mark


# -- reading a query ------------------------------------------------------------------------------------------------
def parse_list_query(listing: Listing, params: QueryDict, *, sort: str = "", limit: int = DEFAULT_LIMIT) -> ListQuery:
    """Columns, order, size and form that the query asks for. Raises Invalid.

    `sort` and `limit`: the order and the size where the query asks for none, in place of the list's own.
    """
    columns = parse_columns(listing, params)
    ordering = params.get("sort", "") or sort or listing.sort
    down, key = ordering.startswith("-"), ordering.removeprefix("-")
    column = listing.get_column(key)
    if column is None or not column.order:
        raise Invalid(
            "This list cannot be ordered by {name!r}.",
            name=ordering[:60],
            field="sort",
            limit=", ".join(column.key for column in listing.sortable),
            hint=N_("Take one of these, with - in front for downwards."),
        )
    order = tuple(reverse_ordering(name) for name in column.order) if down else column.order
    sparse = column.order[0].lstrip("-") if column.sparse else ""
    return ListQuery(columns, ordering, order, sparse, parse_limit(params.get("limit"), limit), parse_format(params))


def parse_columns(listing: Listing, params: QueryDict) -> tuple[Column, ...]:
    """The columns that the query picks, in the list's order, else those shown before anybody picks."""
    names = parse_names(params, "columns")
    column_keys = {column.key for column in listing.columns}
    wrong = next((name for name in names if name not in column_keys), None)
    if wrong is not None:
        raise Invalid(
            "This list has no column {name!r}.",
            name=wrong[:60],
            field="columns",
            limit=", ".join(column.key for column in listing.columns),
            hint=N_("Take some of these, with commas between."),
        )
    first, *optional = listing.columns
    return (first, *(column for column in optional if (column.key in names if names else column.default_visible)))


def parse_names(params: QueryDict, key: str) -> list[str]:
    """Names as a form repeats them (a=x&a=y) or as a person writes them (a=x,y)."""
    parts = [part.strip() for text in params.getlist(key) for part in text.split(",")]
    return list(dict.fromkeys(part for part in parts if part))[:MOST_COLUMNS]


def parse_format(params: Mapping[str, Any]) -> bool:
    """Whether a CSV file is asked for; Invalid for another form."""
    text = str(params.get("format", ""))
    validate_choice("format", text, ("html", "csv"), N_("This list has no form {found!r}."))
    return text == "csv"


def read_filter_values(params: Mapping[str, Any], names: Sequence[str]) -> dict[str, str]:
    """The filters of these names as they were sent, cut to what a column can hold, without NUL."""
    return {name: str(params.get(name) or "")[:MAX_FILTER_LENGTH].replace("\x00", "").strip() for name in names}


# -- days -----------------------------------------------------------------------------------------------------------
def parse_day(name: str, text: str, *, end: bool = False) -> datetime | None:
    """The beginning of a day in the reader's zone, or with `end` of the day after it. Raises Invalid.

    A day is `2026-11-24`, `today`, or `7d`: so many days ago, today being the first. Views that people keep say it so.
    """
    if not text:
        return None
    today, back = timezone.localdate(), DAYS_BACK.fullmatch(text)
    try:
        if back and int(back[1]) > 0:
            day = today - timedelta(days=int(back[1]) - 1)
        else:
            day = today if text == "today" else parse_date(text)
        if day is None:
            raise ValueError(text)
        begins = timezone.make_aware(datetime.combine(day + timedelta(days=end), time.min))
        begins.astimezone(UTC)  # as the database keeps it: in the first days there are, a zone may leave the calendar
        return begins
    except (ValueError, OverflowError):
        raise Invalid(
            "{text!r} is not a day.",
            text=text[:40],
            field=name,
            limit=_("YYYY-MM-DD, today, or a number of days such as 7d"),
        ) from None


def filter_between_days(rows: models.QuerySet[Any], column: str, params: Mapping[str, Any], name: str) -> Any:
    """The rows whose `column` lies from the day `<name>_after` to the day `<name>_before`, both included."""
    values = read_filter_values(params, (f"{name}_after", f"{name}_before"))
    start = parse_day(f"{name}_after", values[f"{name}_after"])
    end = parse_day(f"{name}_before", values[f"{name}_before"], end=True)
    bounds = {f"{column}__gte": start, f"{column}__lt": end}
    return rows.filter(**{lookup: moment for lookup, moment in bounds.items() if moment})


def build_day_parameters(*names: str) -> list[OpenApiParameter]:
    """The same two for the schema of a REST list, for each name."""
    description = "YYYY-MM-DD, today, or 7d for seven days back; days begin in the time zone of the plane."
    return [
        OpenApiParameter(f"{name}_{end}", str, description=f"{words} this day, itself included: {description}")
        for name in names
        for end, words in (("after", "From"), ("before", "Until"))
    ]


def build_day_filters(params: Mapping[str, Any], name: str, after: str, before: str) -> list[Row]:
    """The two fields of `between_days` for a filter bar, under the labels `after` and `before`."""
    values = read_filter_values(params, (f"{name}_after", f"{name}_before"))
    return [
        {"name": key, "label": label, "value": values[key], "type": "date" if is_date_like(values[key]) else "text"}
        for key, label in ((f"{name}_after", after), (f"{name}_before", before))
    ]


def is_date_like(text: str) -> bool:
    """Whether a date control can show it: one would swallow `today`, and the filter with it."""
    return not text or re.fullmatch(r"\d{4}-\d\d-\d\d", text) is not None


# -- rows -----------------------------------------------------------------------------------------------------------
def exclude_null_sort_values(rows: models.QuerySet[Any], query: ListQuery) -> models.QuerySet[Any]:
    """Without the rows that have no place in the order asked for."""
    return rows.filter(**{f"{query.sparse}__isnull": False}) if query.sparse else rows


def iter_batches(rows: models.QuerySet[Any], order: Sequence[str], size: int = 0) -> Iterator[list[Any]]:
    """All rows in order, by keyset: each batch a query of its own, with no cursor and no transaction between two."""
    size = size or ROWS_PER_BATCH
    edge: list[Any] | None = None
    ordered = rows.order_by(*order)
    while True:
        batch = list((ordered if edge is None else ordered.filter(build_cursor_filter(order, edge)))[:size])
        if batch:
            yield batch
        if len(batch) < size:
            return
        edge = [resolve_value(batch[-1], name.lstrip("-")) for name in order]


@dataclass(slots=True)
class ListTable:
    """One page of a list as the templates draw it; with `wrong`, the list without rows and what is wrong."""

    listing: Listing
    query: ListQuery
    params: QueryDict
    source: models.QuerySet[Any] | None = None  # every row that fits
    page: Page[Any] = field(default_factory=lambda: Page([], None, None))
    transform_rows: RowTransform = list
    rows: Sequence[Any] = ()
    filters: list[Row] = field(default_factory=list)
    builtin: list[Row] = field(default_factory=list)  # views: {name, query}
    wrong: PlaneError | None = None
    total: int | None = None  # of a list in memory: how many fit

    @property
    def status(self) -> int:
        return self.wrong.status if self.wrong else 200

    @property
    def visible_columns(self) -> dict[str, bool]:
        """{key: True} of the columns to draw, else False: a template looks long for a key that is absent."""
        return defaultdict(bool, {column.key: True for column in self.query.columns})

    @property
    def column_choices(self) -> list[Row]:
        """What the column picker offers: all but the first, which names the row."""
        visible = self.visible_columns
        return [
            {"key": column.key, "label": column.label, "shown": column.key in visible}
            for column in self.listing.columns[1:]
        ]

    @property
    def has_picked_columns(self) -> bool:
        return bool(self.params.get("columns"))

    @property
    def default_columns_query(self) -> str:
        """Back to the columns that are shown before anybody picks."""
        return self.build_query(columns=None)

    @property
    def sort_options(self) -> list[Row]:
        """Every order the list has, for where heads cannot be pressed: on a phone a row is a card."""
        options = []
        for column in self.listing.sortable:
            keys = (f"-{column.key}", column.key) if column.down else (column.key, f"-{column.key}")
            now = self.query.sort in keys
            target = keys[1] if self.query.sort == keys[0] else keys[0]
            query = self.build_query(sort=target, cursor=None)
            options.append({"label": column.label, "now": now, "down": self.query.sort[:1] == "-", "query": query})
        return options

    @property
    def is_filtered(self) -> bool:
        return any(filter_field["value"] for filter_field in self.filters)

    @property
    def chips(self) -> list[Row]:
        """What narrows the list now, each with the query that takes it off."""
        return [
            {
                "label": filter_field["label"],
                "word": get_choice_label(filter_field),
                "query": self.build_query(**{filter_field["name"]: None, "cursor": None}),
            }
            for filter_field in self.filters
            if filter_field["value"]
        ]

    @property
    def filter_form_fields(self) -> list[tuple[str, str]]:
        """What the filters' form carries on: order and columns, but neither filters nor the place in the list."""
        names = {filter_field["name"] for filter_field in self.filters} | {"cursor", "format", "view"}
        return [(key, value) for key in self.params if key not in names for value in self.params.getlist(key)]

    @property
    def picker_form_fields(self) -> list[tuple[str, str]]:
        dropped = {"columns", "cursor", "format", "view"}
        return [(key, value) for key in self.params if key not in dropped for value in self.params.getlist(key)]

    @property
    def view_query(self) -> str:
        """What a saved view keeps: everything but the place in the list."""
        dropped = {"cursor", "format", "view", "limit"}
        pairs = [
            (key, value) for key in self.params if key not in dropped for value in self.params.getlist(key) if value
        ]
        return urlencode(pairs)

    @property
    def csv_query(self) -> str:
        return self.build_query(format="csv", cursor=None, limit=None, view=None)

    @property
    def omits_empty_values(self) -> bool:
        """Whether rows without a value have no place in the order asked for."""
        return bool(self.query.sparse)

    def build_query(self, **changes: str | None) -> str:
        """The query of this page with some keys changed; None drops one. `?view=all` if nothing is left."""
        pairs = [(key, value) for key in self.params if key not in changes for value in self.params.getlist(key)]
        pairs += [(key, value) for key, value in changes.items() if value]
        return f"?{urlencode(pairs)}" if pairs else "?view=all"

    def build_context(self) -> Row:
        """For render(): the names that the templates of lists know."""
        return {
            "table": self,
            "shown": self.visible_columns,
            "sort": self.query.sort,
            "page": self.page,
            "rows": self.rows,
            "filters": self.filters,
            "active": self.is_filtered,
            "wrong": self.wrong,
        }


def get_choice_label(filter_field: Row) -> str:
    """A filter's value as its control shows it."""
    return next(
        (str(word) for value, word in filter_field.get("choices") or () if str(value) == filter_field["value"]),
        filter_field["value"],
    )


def build_builtin_view(name: str, **query: str) -> Row:
    """A view that a list brings along."""
    return {"name": name, "query": urlencode(query)}


def build_table(
    listing: Listing,
    params: QueryDict,
    rows: Callable[[], models.QuerySet[Any]],
    *,
    filters: list[Row],
    transform_rows: RowTransform = list,
    builtin: list[Row] | None = None,
    sort: str = "",
    limit: int = DEFAULT_LIMIT,
) -> ListTable:
    """The page that the query asks for. What is wrong in it is kept to be said beside the filters.

    `rows` looks up what fits the filters and may raise Invalid; `transform_rows` makes of the rows of a page, or of a
    batch of a file, what the template and the columns read. Raises Malformed for a cursor that is not this list's.
    """
    table = ListTable(
        listing,
        build_default_query(listing),
        params,
        filters=filters,
        transform_rows=transform_rows,
        builtin=builtin or [],
    )
    try:
        table.query = parse_list_query(listing, params, sort=sort, limit=limit)
        table.source = exclude_null_sort_values(rows(), table.query)
    except Invalid as error:
        table.wrong = error
        return table
    if not table.query.csv:
        present = (table.query.sparse,) if table.query.sparse else ()
        cursor = params.get("cursor") or None
        table.page = fetch_page(
            table.source, cursor=cursor, limit=table.query.limit, order=table.query.order, present=present
        )
        table.rows = transform_rows(table.page.items)
    return table


def build_default_query(listing: Listing) -> ListQuery:
    """What a query that says nothing asks for."""
    return parse_list_query(listing, QueryDict())


def iter_row_batches(table: ListTable) -> Iterator[Sequence[Any]]:
    """Every row of the list, dressed, in batches."""
    if table.source is None:
        yield table.rows
        return
    for batch in iter_batches(table.source, table.query.order):
        yield table.transform_rows(batch)
