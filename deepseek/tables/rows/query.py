"""What a reader asks of the rows of a table, as the web process writes it, and the errors of its values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from deepseek.job import EngineError
from deepseek.messages import N_

OPERATORS = ("eq", "ne", "gte", "lte", "between", "contains", "missing", "present")
MAX_SORTED = 10_000  # rows of an order that can be paged through: so many candidates are in memory


@dataclass(frozen=True)
class Filter:
    """A condition on one column; `between` takes two values with `..` between them, both included."""

    column: str
    op: str
    value: str = ""


@dataclass(frozen=True)
class FileSource:
    """A file of the table: `format` is parquet, csv or json. `rows` of a part, where they were counted."""

    size: int
    format: str
    delimiter: str = ","
    encoding: str = "utf-8"
    rows: int | None = None


@dataclass(frozen=True)
class RowQuery:
    """`after`: where to begin, as the page before returned it, or a number of rows to skip. `offset`: into an order.

    `names` and `numeric` are the columns of a file of text, and which of them hold numbers. `hidden` are not searched.
    """

    files: list[FileSource]
    filters: list[Filter] = field(default_factory=list)
    search: str = ""
    sort: str = ""
    descending: bool = False
    offset: int = 0
    limit: int = 50
    after: str = ""
    count: bool = False
    seconds: float = 8.0
    first_column: int = 0
    max_columns: int = 40
    max_characters: int = 200
    names: list[str] = field(default_factory=list)
    numeric: list[str] = field(default_factory=list)
    hidden: list[str] = field(default_factory=list)


def parse_query(document: Mapping[str, Any]) -> RowQuery:
    """The query from the JSON object that the web process sends, which has validated it."""
    values = dict(document)
    values["files"] = [FileSource(**file) for file in document["files"]]
    values["filters"] = [Filter(**condition) for condition in document.get("filters", [])]
    return RowQuery(**values)


def build_value_error(condition: Filter, kind: str, limit: str) -> EngineError:
    return EngineError(
        "filter_value",
        "The column {column!r} holds {kind}: it cannot be compared with {text!r}.",
        column=condition.column,
        kind=kind,
        text=condition.value[:60],
        field="value",
        value=condition.value[:200],
        limit=limit,
        hint=N_("Change the value, or search for text that the cell contains."),
    )


def build_operator_error(condition: Filter, kind: str) -> EngineError:
    return EngineError(
        "filter_operator",
        "The column {column!r} holds {kind}: it can only be filtered by missing and present.",
        column=condition.column,
        kind=kind,
        field="op",
        value=condition.op,
        limit="missing, present",
        hint=N_("Choose another column, or filter for missing cells."),
    )
