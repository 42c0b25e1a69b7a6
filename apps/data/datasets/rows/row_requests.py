"""What a page or a program asks of the rows of a table: filters, a search, an order and a place, from a query string.

`column`, `op` and `value` are repeated, one of each for every filter: a form needs nothing else.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Any

from django.http import QueryDict

from apps.core.errors import Invalid
from apps.core.request_values import parse_int, validate_choice
from deepseek.messages import N_

OPERATORS = ("eq", "ne", "gte", "lte", "between", "contains", "missing", "present")
VALUELESS = ("missing", "present")
PAGE_ROWS = 50
MAX_PAGE_ROWS = 200  # of one answer to a program
COLUMNS_SHOWN = 40  # at once
MAX_SORTED = 10_000  # rows of an order that can be paged through
MAX_FILTERS = 10
MAX_TEXT = 200
MAX_PLACE = 120  # with its signature
MAX_COLUMN_NAME = 500


@dataclass(frozen=True, slots=True)
class RowFilter:
    column: str
    op: str
    value: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RowRequest:
    """`after`: where to begin, as `next` of the page before says; `offset`: into the order by `sort`."""

    filters: tuple[RowFilter, ...] = ()
    search: str = ""
    sort: str = ""
    descending: bool = False
    after: str = ""
    offset: int = 0
    limit: int = PAGE_ROWS
    first_column: int = 0
    count: bool = False

    @property
    def is_plain(self) -> bool:
        """Whether it asks for the rows as they stand."""
        return not (self.filters or self.search or self.sort)

    @property
    def columns(self) -> list[str]:
        """The columns that it filters and sorts by."""
        return [*(row_filter.column for row_filter in self.filters), *([self.sort] if self.sort else [])]

    def build_query(self, **changes: Any) -> str:
        """The query string of this request with other fields."""
        row_request = replace(self, **changes)
        query = QueryDict(mutable=True)
        for row_filter in row_request.filters:
            query.appendlist("column", row_filter.column)
            query.appendlist("op", row_filter.op)
            query.appendlist("value", row_filter.value)
        fields = {
            "q": row_request.search,
            "sort": f"-{row_request.sort}" if row_request.descending else row_request.sort,
            "after": row_request.after,
            "offset": row_request.offset or "",
            "cols": row_request.first_column or "",
            "count": "1" if row_request.count else "",
        }
        for name, value in fields.items():
            if value != "":
                query[name] = str(value)
        return f"?{query.urlencode()}"


def read_row_request(params: QueryDict, names: Collection[str] = ()) -> RowRequest:
    """The request of a query string; `names` are the columns where they are known. Raises Invalid."""
    sort = read_text(params, "sort", MAX_COLUMN_NAME + 1)
    descending = sort.startswith("-") and sort not in names
    offset = read_number(params, "offset", MAX_SORTED - PAGE_ROWS)
    return RowRequest(
        filters=read_filters(params),
        search=read_text(params, "q", MAX_TEXT).strip(),
        sort=sort.removeprefix("-") if descending else sort,
        descending=descending,
        after=read_text(params, "after", MAX_PLACE),
        offset=offset if sort else 0,
        limit=read_number(params, "limit", MAX_PAGE_ROWS, default=PAGE_ROWS, low=1),
        first_column=read_number(params, "cols", 100_000),
        count=params.get("count") == "1",
    )


def read_filters(params: QueryDict) -> tuple[RowFilter, ...]:
    columns, ops, values = (params.getlist(name) for name in ("column", "op", "value"))
    if len({len(columns), len(ops), len(values)}) > 1:
        raise Invalid(
            "{columns} columns, {ops} operators and {values} values do not make filters.",
            columns=len(columns),
            ops=len(ops),
            values=len(values),
            field="column",
            limit="one column, op and value for each filter",
            hint=N_("Repeat the three for each filter; a filter for missing cells has an empty value."),
        )
    filters = []
    for column, op, value in zip(columns, ops, values, strict=True):
        if not column:  # the row of the form that adds a filter, left empty
            continue
        validate_choice("op", op, OPERATORS, required=True)
        check_text("column", column, MAX_COLUMN_NAME)
        check_text("value", value, MAX_TEXT)
        filters.append(RowFilter(column, op, "" if op in VALUELESS else value))
    if len(filters) > MAX_FILTERS:
        raise Invalid(
            "{count} filters at once.",
            count=len(filters),
            field="column",
            limit=MAX_FILTERS,
            hint=N_("Remove some of them."),
        )
    return tuple(dict.fromkeys(filters))


def read_text(params: QueryDict, name: str, longest: int) -> str:
    text = params.get(name, "")
    check_text(name, text, longest)
    return text


def check_text(name: str, text: str, longest: int) -> None:
    if len(text) > longest or "\x00" in text:
        raise Invalid(
            "{name} is too long or holds a NUL.",
            name=name,
            field=name,
            limit=longest,
            hint=N_("Shorten it."),
        )


def read_number(params: QueryDict, name: str, high: int, *, default: int = 0, low: int = 0) -> int:
    text = params.get(name, "")
    number = parse_int(text, low, high) if text else default
    if number is None:
        raise Invalid(
            "{name} {text!r} is no number from {low} to {high}.",
            name=name,
            text=text[:40],
            low=low,
            high=high,
            field=name,
            limit=f"{low} to {high}",
            hint=N_("Use a number in this range, or add a filter."),
        )
    return number


def refuse_masked(columns: Sequence[str], masked: Collection[str]) -> None:
    """Raise Invalid for a filter or an order by a column whose cells are hidden: it would tell what they hold."""
    for column in columns:
        if column in masked:
            raise Invalid(
                "The cells of {column!r} are hidden, so rows cannot be filtered or sorted by it.",
                column=column,
                code="column_masked",
                field="column",
                limit="columns that are shown",
                hint=N_("Choose another column."),
            )
