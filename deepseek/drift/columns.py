"""Columns of a batch as numbers and texts, whatever they came as: record batches of Arrow, or rows of JSON."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

Floats: TypeAlias = "np.ndarray[Any, np.dtype[np.float64]]"
Batch: TypeAlias = "pa.RecordBatch | pa.Table | Sequence[Mapping[str, Any]]"
MAX_TEXT = 200
"""Characters of a value that are told apart."""


@dataclass
class Column:
    """The cells of one column in a batch. `numbers` has NaN and infinities, `texts` the counts of what is no number."""

    name: str
    missing: int = 0
    numbers: Floats = field(default_factory=lambda: np.zeros(0))
    texts: Counter[str] = field(default_factory=Counter)


def read_columns(batch: Batch) -> tuple[int, list[Column]]:
    """(rows, columns) of a batch."""
    if isinstance(batch, pa.RecordBatch | pa.Table):
        return batch.num_rows, [
            _read_arrow_column(name, column) for name, column in zip(batch.schema.names, batch.columns, strict=True)
        ]
    names: dict[str, None] = {}
    for row in batch:
        names.update(dict.fromkeys(map(str, row)))
    return len(batch), [_read_cells(name, [row.get(name) for row in batch]) for name in names]


def _read_arrow_column(name: str, column: Any) -> Column:
    kind = column.type
    if pa.types.is_dictionary(kind):
        column, kind = column.cast(kind.value_type), kind.value_type
    if pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        present = column.drop_null()
        return Column(name, column.null_count, _to_numpy(present.cast(pa.float64(), safe=False)))
    if pa.types.is_temporal(kind) or pa.types.is_boolean(kind) or pa.types.is_string(kind):
        return Column(name, column.null_count, texts=_count_texts(column))
    if pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        return Column(name, column.null_count, texts=_count_texts(column))
    return _read_cells(name, column.to_pylist())


def _to_numpy(column: Any) -> Floats:
    values: Floats = column.to_numpy(zero_copy_only=False) if isinstance(column, pa.Array) else column.to_numpy()
    return values


def _count_texts(column: Any) -> Counter[str]:
    counts: Counter[str] = Counter()
    for item in pc.value_counts(column.drop_null()).to_pylist():
        counts[format_value(item["values"])] += item["counts"]
    return counts


def _read_cells(name: str, cells: Sequence[Any]) -> Column:
    numbers = []
    column = Column(name)
    for cell in cells:
        if cell is None:
            column.missing += 1
        elif isinstance(cell, int | float) and not isinstance(cell, bool):
            numbers.append(_to_float(cell))
        else:
            column.texts[format_value(cell)] += 1
    column.numbers = np.array(numbers, dtype=np.float64)
    return column


def _to_float(number: int | float) -> float:
    try:
        return float(number)
    except OverflowError:  # a whole number beyond the range of float64
        return math.inf if number > 0 else -math.inf


def format_value(value: Any) -> str:
    """The text by which a category is known: true, false, whole numbers without a point, long ones cut."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        return str(int(value))
    return str(value)[:MAX_TEXT]
