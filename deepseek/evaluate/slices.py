"""Rows apart: by the values of a column, or by its quantile bins."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from deepseek.evaluate.spec import Slice
from deepseek.tables.files import build_unknown_column_error
from deepseek.train.columns import is_number, to_numbers

MOST_VALUES = 10
"""Values of one column that get a slice; the rarer ones share the slice "other"."""
FEW_NUMBERS = 10
"""A column of so many different numbers is taken by its values, unless bins are asked for."""
DEFAULT_BINS = 4


@dataclass(frozen=True)
class Part:
    """One slice: its column, what its rows have in common, and which rows of the table are in it, (n,) of bool."""

    column: str
    value: str
    rows: npt.NDArray[np.bool_]


def split_into_slices(table: pa.Table, slice_spec: Slice, field: str) -> Iterator[Part]:
    """The slices of one column, the fullest value first, bins by their order; rows without a value come last.

    Raises EngineError ``unknown_column``.
    """
    if slice_spec.column not in table.column_names:
        raise build_unknown_column_error(table.column_names, slice_spec.column, field)
    column = table.column(slice_spec.column)
    kind = column.type
    numeric = is_number(kind) and not pa.types.is_boolean(kind)
    dated = pa.types.is_temporal(kind) and not pa.types.is_duration(kind) and not pa.types.is_time(kind)
    few = len(pc.unique(column.drop_null())) <= FEW_NUMBERS
    if (numeric or dated) and (slice_spec.bins is not None or not few):
        yield from _split_by_bin(column, slice_spec.column, slice_spec.bins or DEFAULT_BINS, dated)
    else:
        yield from _split_by_value(column, slice_spec.column)


def make_names_unique(parts: Iterable[Part]) -> list[Part]:
    """The same slices under names of their own: what is kept of a slice is found by its column and value.

    A slice that is there already, of the same rows under the same name, is left out; another one of that name (a text
    "missing" beside rows without a value) gets a number: "missing (2)".
    """
    parts_by_name: dict[tuple[str, str], Part] = {}
    for part in parts:
        value, count = part.value, 1
        while (existing := parts_by_name.get((part.column, value))) is not None and not np.array_equal(
            existing.rows, part.rows
        ):
            count += 1
            value = f"{part.value} ({count})"
        parts_by_name.setdefault((part.column, value), replace(part, value=value))
    return list(parts_by_name.values())


def _split_by_value(column: pa.ChunkedArray, name: str) -> Iterator[Part]:
    texts = np.array([None if value is None else _format_value(value) for value in column.to_pylist()], dtype=object)
    missing = np.array([text is None for text in texts], dtype=bool)
    values, counts = np.unique(texts[~missing].astype(str), return_counts=True)
    order = np.argsort(-counts, kind="stable")
    frequent = values[order][:MOST_VALUES]
    for value in frequent:
        yield Part(name, str(value), texts == value)
    rest = ~missing & ~np.isin(texts.astype(str), frequent)
    yield from _present(Part(name, "other values", rest), Part(name, "missing", missing))


def _split_by_bin(column: pa.ChunkedArray, name: str, bins: int, dated: bool) -> Iterator[Part]:
    values: Any
    if dated:
        stamps = column.cast(pa.timestamp("us", tz=getattr(column.type, "tz", None))).cast(pa.int64())
        values = to_numbers(stamps)
    else:
        values = to_numbers(column)
    present = np.isfinite(values)
    cuts = np.linspace(0, 1, bins + 1)
    method: Literal["lower", "linear"] = "lower" if dated else "linear"  # no edge between two days
    edges = np.unique(np.quantile(values[present], cuts, method=method)) if present.any() else np.empty(0)
    labels = [_format_edge(edge, column.type) for edge in edges]
    if len(edges) == 1:
        yield Part(name, labels[0], present)
    place = np.searchsorted(edges[1:-1], values, side="left")  # a bin holds its upper edge
    for at in range(len(edges) - 1):
        begin = "from" if at == 0 else "above"
        yield Part(name, f"{begin} {labels[at]} to {labels[at + 1]}", present & (place == at))
    yield from _present(Part(name, "missing", ~present))


def _present(*parts: Part) -> Iterator[Part]:
    return (part for part in parts if part.rows.any())


def _format_value(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)[:200]


def _format_edge(edge: float, kind: pa.DataType) -> str:
    if not pa.types.is_temporal(kind):
        return f"{edge:.6g}"
    return str(np.datetime64(int(edge), "us"))[: 10 if pa.types.is_date(kind) else 19]
