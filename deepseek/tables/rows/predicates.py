"""Masks of the rows that match filters and a search, and whether the statistics of a row group rule it out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from deepseek.job import EngineError
from deepseek.tables.rows.query import Filter, build_operator_error, build_value_error

NUMBER_PATTERN = r"^[ \t]*[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?[ \t]*$"
TRUE, FALSE = ("true", "1", "yes", "t"), ("false", "0", "no", "f")
COMPARISONS = {"eq": pc.equal, "ne": pc.not_equal, "gte": pc.greater_equal, "lte": pc.less_equal}


def is_text(kind: pa.DataType) -> bool:
    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def is_sortable(kind: pa.DataType) -> bool:
    return not (pa.types.is_nested(kind) or pa.types.is_null(kind))


def parse_numbers(column: pa.Array) -> pa.Array:
    """The numbers that texts hold; null where a text is none."""
    column = pc.if_else(pc.match_substring_regex(column, NUMBER_PATTERN), column, pa.scalar(None, column.type))
    return pc.cast(pc.utf8_trim(column, " \t+"), pa.float64())


def decode(column: pa.Array) -> pa.Array:
    """The column without its dictionary, and a view of texts as texts: few functions take either."""
    kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
    kind = pa.string() if pa.types.is_string_view(kind) else pa.binary() if pa.types.is_binary_view(kind) else kind
    return column if kind == column.type else column.cast(kind)


def widen_type(kind: pa.DataType) -> pa.DataType:
    """The type in which values of this type are compared: pyarrow orders no halves, and compares no decimals."""
    if pa.types.is_string_view(kind):
        return pa.string()
    if pa.types.is_binary_view(kind):
        return pa.binary()
    return pa.float32() if pa.types.is_float16(kind) else kind


def widen(column: pa.Array) -> pa.Array:
    column = decode(column)
    kind = widen_type(column.type)
    return column if kind == column.type else column.cast(kind)


def read_bounds(stats: pq.Statistics | None) -> tuple[Any, Any] | None:
    """(least, greatest) value of a row group; None where its statistics do not say, or Python has no such value."""
    if stats is None or not stats.has_min_max:
        return None
    try:
        low, high = stats.min, stats.max
    except (OverflowError, ValueError):
        return None
    return None if low != low or high != high else (low, high)  # some writers count NaN


def find_missing(column: pa.Array) -> pa.Array:
    if pa.types.is_floating(column.type):
        return pc.is_null(column, nan_is_null=True)
    return pc.is_null(column)


@dataclass(frozen=True)
class Predicate:
    """A filter with its values in the type of the column. `as_number`: the column is text that holds numbers."""

    condition: Filter
    kind: pa.DataType
    values: list[pa.Scalar]
    as_number: bool = False

    def compute_mask(self, column: pa.Array) -> pa.Array:
        """Which rows of a batch match; never null."""
        if pa.types.is_dictionary(column.type) and self.condition.op not in ("missing", "present"):
            return pc.fill_null(pc.take(self._compare(column.dictionary), column.indices), False)
        return pc.fill_null(self._compare(column), False)

    def _compare(self, column: pa.Array) -> pa.Array:
        op = self.condition.op
        if op == "missing":
            return find_missing(column)
        if op == "present":
            return pc.invert(find_missing(column))
        column = widen(column)
        if op == "contains":
            text = column if is_text(column.type) else pc.cast(column, pa.string())
            return pc.match_substring(text, self.condition.value, ignore_case=True)
        column = parse_numbers(column) if self.as_number else column
        if pa.types.is_decimal(column.type) or (pa.types.is_integer(column.type) and self._has_fractions):
            column = pc.cast(column, pa.float64(), safe=False)
        if op == "between":
            low, high = self.values
            return pc.and_kleene(pc.greater_equal(column, low), pc.less_equal(column, high))
        mask = COMPARISONS[op](column, self.values[0])
        return pc.and_kleene(mask, pc.invert(find_missing(column))) if op == "ne" else mask

    @property
    def _has_fractions(self) -> bool:
        return any(pa.types.is_floating(value.type) for value in self.values)

    def can_match(self, stats: pq.Statistics | None, rows: int) -> bool:
        """Whether a row group with these statistics may hold a matching row; True where they do not say."""
        op = self.condition.op
        if stats is None or self.as_number:
            return True
        if op in ("missing", "present"):
            if not stats.has_null_count or pa.types.is_floating(self.kind):  # NaN counts as missing
                return True
            return bool(stats.null_count > 0 if op == "missing" else stats.null_count < rows)
        bounds = read_bounds(stats)
        if bounds is None or op in ("contains", "ne"):
            return True
        values = [value.as_py() for value in self.values]
        low, high = bounds
        if pa.types.is_decimal(self.kind):  # which are compared as floats: 0.1 is not Decimal("0.1")
            low, high = float(low), float(high)
        try:
            above = op == "lte" or high >= values[0]
            below = op == "gte" or low <= values[-1]
        except TypeError:  # statistics of another kind than the values, as of times with a zone
            return True
        return bool(above and below)


def build_predicate(condition: Filter, kind: pa.DataType, *, as_number: bool = False) -> Predicate:
    """Raises EngineError ``filter_value`` for a value that is none of the column's type, ``filter_operator``."""
    name = "numbers" if as_number else str(kind)
    if condition.op in ("missing", "present"):
        return Predicate(condition, kind, [])
    if not is_sortable(kind) or pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
        raise build_operator_error(condition, name)
    if condition.op == "contains":
        return Predicate(condition, kind, [])
    texts = condition.value.split("..", 1) if condition.op == "between" else [condition.value]
    if condition.op == "between" and len(texts) < 2:
        raise build_value_error(condition, name, "LOW..HIGH")
    try:
        values = [parse_value(text, kind, as_number=as_number) for text in texts]
    except (ValueError, pa.ArrowException, OverflowError):
        raise build_value_error(condition, name, describe_type(kind, as_number=as_number)) from None
    return Predicate(condition, kind, values, as_number)


def describe_type(kind: pa.DataType, *, as_number: bool) -> str:
    if pa.types.is_temporal(kind):
        return "YYYY-MM-DD or YYYY-MM-DDThh:mm:ss"
    if pa.types.is_boolean(kind):
        return "true or false"
    return "a number" if as_number or not is_text(kind) else "text"


def parse_value(text: str, kind: pa.DataType, *, as_number: bool) -> pa.Scalar:
    """The value as a scalar that compares with the column. Raises ValueError or pyarrow's errors."""
    text = text if is_text(kind) and not as_number else text.strip()
    if as_number or pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        return pa.scalar(float(text), pa.float64())
    if pa.types.is_integer(kind):
        try:
            return pa.scalar(int(text), pa.uint64() if pa.types.is_uint64(kind) else pa.int64())
        except (ValueError, OverflowError):
            return pa.scalar(float(text), pa.float64())
    if pa.types.is_boolean(kind):
        if text.lower() not in TRUE + FALSE:
            raise ValueError(text)
        return pa.scalar(text.lower() in TRUE)
    if pa.types.is_temporal(kind):
        return parse_moment(text, kind)
    return pa.scalar(text, widen_type(kind))


def parse_moment(text: str, kind: pa.DataType) -> pa.Scalar:
    if pa.types.is_timestamp(kind) and kind.tz is not None and not text.endswith("Z") and "+" not in text:
        text = f"{text}Z"
    if pa.types.is_timestamp(kind) and len(text.rstrip("Z")) == len("YYYY-MM-DD"):
        text = text.replace("Z", "") + ("T00:00:00Z" if kind.tz is not None else "T00:00:00")
    return pa.scalar(text).cast(kind)


@dataclass(frozen=True)
class Search:
    """Text that any of the columns contains, whatever the case."""

    text: str
    columns: Sequence[str]

    def compute_mask(self, batch: pa.RecordBatch) -> pa.Array:
        mask: Any = None
        for name in self.columns:
            column = batch.column(name)
            if pa.types.is_string_view(column.type):
                column = decode(column)
            if pa.types.is_dictionary(column.type):
                part = pc.take(pc.match_substring(column.dictionary, self.text, ignore_case=True), column.indices)
            else:
                part = pc.match_substring(column, self.text, ignore_case=True)
            part = pc.fill_null(part, False)
            mask = part if mask is None else pc.or_(mask, part)
        return mask if mask is not None else pa.array([False] * batch.num_rows, pa.bool_())


@dataclass(frozen=True)
class Selection:
    """All filters and the search of a query, on the columns `columns`."""

    predicates: Sequence[Predicate]
    search: Search | None

    @property
    def columns(self) -> list[str]:
        names = [predicate.condition.column for predicate in self.predicates]
        return list(dict.fromkeys([*names, *(self.search.columns if self.search else ())]))

    @property
    def is_empty(self) -> bool:
        return not self.predicates and self.search is None

    def compute_mask(self, batch: pa.RecordBatch) -> pa.Array | None:
        """Which rows match; None for all of them."""
        masks = [predicate.compute_mask(batch.column(predicate.condition.column)) for predicate in self.predicates]
        if self.search is not None:
            masks.append(self.search.compute_mask(batch))
        mask = None
        for part in masks:
            mask = part if mask is None else pc.and_(mask, part)
        return mask


def build_selection(
    filters: Sequence[Filter],
    search: str,
    schema: pa.Schema,
    *,
    numeric: Sequence[str] = (),
    hidden: Sequence[str] = (),
) -> Selection:
    """Raises EngineError as `build_predicate`, and ``unknown_column``."""
    predicates = []
    for condition in filters:
        kind = find_type(schema, condition.column, "column")
        as_number = condition.column in numeric and is_text(kind)
        predicates.append(build_predicate(condition, kind, as_number=as_number))
    texts = [column.name for column in schema if is_text(column.type) and column.name not in hidden]
    return Selection(predicates, Search(search, texts) if search else None)


def find_type(schema: pa.Schema, name: str, field: str) -> pa.DataType:
    if name not in schema.names:
        raise EngineError(
            "unknown_column", "The table has no column {name!r}.", name=name, field=field, value=name[:200]
        )
    kind = schema.field(name).type
    return kind.value_type if pa.types.is_dictionary(kind) else kind
