"""Steps that fill gaps from what stands beside them, whatever the type, and one that drops the rows."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from deepseek.clean.steps.base import (
    StepRunner,
    build_unfit_error,
    is_number,
    is_time,
    list_visible_columns,
    replace_columns,
)
from deepseek.clean.steps.numbers import NewValues, NumericStep, WindowContext, convert_to_floats
from deepseek.clean.steps.values import parse_scalar
from deepseek.job import EngineError
from deepseek.messages import N_
from deepseek.tables.batches import Batches
from deepseek.tables.streams import select_columns

Places = npt.NDArray[np.int64]


def find_present(column: pa.Array) -> npt.NDArray[np.bool_]:
    return np.asarray(column.is_valid().to_numpy(zero_copy_only=False), dtype=bool)


def has_value_type(kind: pa.DataType) -> bool:
    return not pa.types.is_null(kind)


class FillForwardStep(StepRunner):
    """fill_forward: what was seen last is carried from batch to batch."""

    def prepare(self, source: Batches) -> None:
        self.names = self.choose_columns(
            source.schema, has_value_type, "a column with values", code="column_all_missing"
        )

    def restrict_columns(self, names: Collection[str]) -> FillForwardStep:
        clone = self.copy_for_columns(names)
        clone.names = [name for name in self.names if name in names]
        return clone

    def apply(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        last: dict[str, tuple[pa.Array, int]] = {}  # the last value, and how many rows before the batch it stood
        for batch in batches:
            new = {}
            for name in self.names:
                column = batch.column(name)
                new[name], filled = self.fill(column, last.get(name))
                self.count(name, filled)
                rows = np.flatnonzero(find_present(column))
                if rows.size:
                    last[name] = (column.slice(int(rows[-1]), 1), len(column) - int(rows[-1]))
                elif name in last:
                    last[name] = (last[name][0], last[name][1] + len(column))
            yield replace_columns(batch, self.schema, new)

    def fill(self, column: pa.Array, last: tuple[pa.Array, int] | None) -> tuple[pa.Array, int]:
        if not column.null_count:
            return column, 0
        rows = np.arange(len(column))
        is_present = find_present(column)
        at = np.maximum.accumulate(np.where(is_present, rows, -1))
        away = rows - at
        source = column
        if last is not None:
            away = np.where(at < 0, rows + last[1], away)
            source, at = pa.concat_arrays([last[0], column]), at + 1
        has_source = at >= 0
        fills = has_source & ~is_present & (away <= (self.step.limit or np.iinfo(np.int64).max))
        take = np.where(is_present | fills, at, -1)
        return source.take(pa.array(take, mask=take < 0)), int(fills.sum())


def find_next_values(
    source: Batches, names: list[str]
) -> tuple[dict[str, list[tuple[pa.Array, int] | None]], list[int]]:
    """Per column and batch: the first present value behind the batch, and how many rows behind its end it stands;
    and the rows of each batch.

    One pass tells it, for a gap may be longer than any batch.
    """
    next_values: dict[str, list[tuple[pa.Array, int] | None]] = {name: [] for name in names}
    sizes = []
    for batch in select_columns(source, names):
        sizes.append(batch.num_rows)
        for name in names:
            column = batch.column(name)
            rows = np.flatnonzero(find_present(column))
            next_values[name].append((column.slice(int(rows[0]), 1), int(rows[0])) if rows.size else None)
    for name in names:
        following: tuple[pa.Array, int] | None = None
        for place in range(len(sizes) - 1, -1, -1):
            own = next_values[name][place]
            next_values[name][place] = following
            following = own if own is not None else (following[0], following[1] + sizes[place]) if following else None
    return next_values, sizes


class FillBackwardStep(StepRunner):
    """fill_backward"""

    passes = True

    def prepare(self, source: Batches) -> None:
        self.names = self.choose_columns(
            source.schema, has_value_type, "a column with values", code="column_all_missing"
        )
        self.following, self.sizes = find_next_values(source, self.names)

    def apply(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for number, batch in enumerate(batches):
            if batch.num_rows != self.sizes[number]:
                raise RuntimeError("the batches of the second reading are not those of the first")
            new = {}
            for name in self.names:
                new[name], filled = self.fill(batch.column(name), self.following[name][number])
                self.count(name, filled)
            yield replace_columns(batch, self.schema, new)

    def fill(self, column: pa.Array, following: tuple[pa.Array, int] | None) -> tuple[pa.Array, int]:
        if not column.null_count:
            return column, 0
        size, is_present = len(column), find_present(column)
        rows = np.arange(size)
        at = np.minimum.accumulate(np.where(is_present, rows, size)[::-1])[::-1]
        away = at - rows + (np.where(at == size, following[1], 0) if following else 0)
        source = pa.concat_arrays([column, following[0]]) if following else column
        has_source = at < size + (following is not None)
        fills = has_source & ~is_present & (away <= (self.step.limit or np.iinfo(np.int64).max))
        take = np.where(is_present | fills, at, -1)
        return source.take(pa.array(take, mask=take < 0)), int(fills.sum())


class FillLinearStep(NumericStep):
    """fill_linear: y0 + (y1 - y0) * ((x - x0) / (x1 - x0)), with x the row or the column `along`."""

    passes = True

    def scan_source(self, source: Batches) -> None:
        along = self.step.along
        if along is not None:
            kind = self.require_column(source.schema, along, "along")
            if not (is_number(kind) or is_time(kind)):
                raise build_unfit_error(
                    along, kind, self.get_pointer("along"), "numbers, dates or times", code="column_not_numeric"
                )
            self._check_ascending(source, along)
        self.following: dict[str, list[tuple[float, float] | None]] = {}
        self.sizes: list[int] = []
        for name in self.names:
            self.following[name] = self._find_next_points(source, name)

    def add_needed_columns(self, names: list[str]) -> list[str]:
        along = self.step.along
        return names if along is None or along in names else [*names, along]

    def _check_ascending(self, source: Batches, along: str) -> None:
        last, row = -np.inf, 0
        for batch in select_columns(source, [along]):
            x = convert_to_axis(batch.column(0))
            if np.isnan(x).any():
                at = int(np.flatnonzero(np.isnan(x))[0])
                raise self._build_axis_error(along, f"has no value in row {row + at + 1}")
            falls = np.flatnonzero(np.diff(x, prepend=last) < 0)
            if falls.size:
                raise self._build_axis_error(along, f"falls in row {row + int(falls[0]) + 1}")
            last, row = (float(x[-1]) if x.size else last), row + x.size

    def _build_axis_error(self, along: str, what: str) -> EngineError:
        return EngineError(
            "not_ascending",
            "The column {along!r} {what}: distances cannot be measured on it.",
            along=along,
            what=what,
            field=self.get_pointer("along"),
            value=along,
            limit="a value in every row, ascending",
            hint=N_("Sort the table by this column, or fill by row."),
        )

    def _find_next_points(self, source: Batches, name: str) -> list[tuple[float, float] | None]:
        """The first present point behind each batch."""
        firsts: list[tuple[float, float] | None] = []
        start = 0
        self.sizes = []
        for batch in select_columns(source, self.add_needed_columns([name])):
            self.sizes.append(batch.num_rows)
            y = convert_to_floats(batch.column(name)).astype(np.float64, copy=False)
            rows = np.flatnonzero(~np.isnan(y))
            x = self.get_axis(batch, start)
            firsts.append((float(x[rows[0]]), float(y[rows[0]])) if rows.size else None)
            start += batch.num_rows
        points: list[tuple[float, float] | None] = []
        point = None
        for own in reversed(firsts):
            points.append(point)
            point = own or point
        return points[::-1]

    def get_axis(self, batch: pa.RecordBatch, start: int) -> npt.NDArray[np.float64]:
        if self.step.along is None:
            return np.arange(start, start + batch.num_rows, dtype=np.float64)
        return convert_to_axis(batch.column(self.step.along))

    def iter_changes(self, batches: Iterator[pa.RecordBatch], names: Any) -> Any:
        self.number, self.before = -1, dict[str, tuple[float, float]]()
        return super().iter_changes(batches, names)

    def prepare_batch(self, batch: pa.RecordBatch) -> None:
        self.number += 1
        self.batch = batch
        if batch.num_rows != self.sizes[self.number]:
            raise RuntimeError("the batches of the second reading are not those of the first")

    def compute_values(self, name: str, context: WindowContext, first: int) -> NewValues:
        own = context.own
        y = own.astype(np.float64, copy=False)
        x = self.get_axis(self.batch, first)
        is_present = ~np.isnan(y)
        following = self.following[name][self.number]
        before = self.before.get(name)
        xs, ys = x[is_present], y[is_present]
        if xs.size:
            self.before[name] = (float(xs[-1]), float(ys[-1]))
        gaps = np.flatnonzero(~is_present)
        changed = np.zeros(own.size, dtype=bool)
        if not gaps.size:
            return NewValues(own, changed)
        points = ([before] if before else []), ([following] if following else [])
        xs = np.concatenate([[p[0] for p in points[0]], xs, [p[0] for p in points[1]]])
        ys = np.concatenate([[p[1] for p in points[0]], ys, [p[1] for p in points[1]]])
        right = np.cumsum(is_present)[gaps] + (before is not None)
        ends = (right > 0) & (right < xs.size)
        gaps, right = gaps[ends], right[ends]
        if gaps.size:
            x0, y0, x1, y1 = xs[right - 1], ys[right - 1], xs[right], ys[right]
            span = x1 - x0
            with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
                share = np.where(span > 0, (x[gaps] - x0) / np.where(span > 0, span, 1), 0.0)
                filled = y0 + (y1 - y0) * share
            own = own.copy()
            own[gaps] = filled.astype(own.dtype)
            changed[gaps] = ~np.isnan(own[gaps])
        return NewValues(own, changed)


def convert_to_axis(column: pa.Array) -> npt.NDArray[np.float64]:
    """Numbers, or times as numbers, in float64; NaN where missing."""
    if is_time(column.type):
        wide = pa.int32() if pa.types.is_date32(column.type) else pa.int64()
        column = column.cast(wide)
    return convert_to_floats(column).astype(np.float64, copy=False)


class FillConstantStep(StepRunner):
    """fill_constant"""

    def prepare(self, source: Batches) -> None:
        self.names = self.choose_columns(source.schema, lambda kind: True, "any column", code="column_not_fit")
        self.values = {}
        fields = list(source.schema)
        for place, name in enumerate(self.names):
            kind = source.schema.field(name).type
            if pa.types.is_null(kind):  # no value at all: a column of texts from here on
                kind = pa.string()
                fields[source.schema.get_field_index(name)] = pa.field(name, kind)
            self.values[name] = parse_scalar(
                self.step.value, kind, self.get_pointer("value"), name, self.get_pointer("columns", place)
            )
        self.schema = pa.schema(fields)

    def apply(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            new = {}
            for name, value in self.values.items():
                column = batch.column(name)
                self.count(name, column.null_count)
                if column.null_count:
                    new[name] = pc.fill_null(column.cast(value.type), value)
            yield replace_columns(batch, self.schema, new)


class DropMissingStep(StepRunner):
    """drop_missing"""

    def prepare(self, source: Batches) -> None:
        names = self.choose_columns(source.schema, lambda kind: True, "any column", code="column_not_fit")
        self.names = names or list_visible_columns(source.schema)

    def restrict_columns(self, names: Collection[str]) -> DropMissingStep:
        return self.copy_for_columns({*names, *self.names})

    def apply(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            stays = (
                np.ones(batch.num_rows, dtype=bool) if self.step.when == "any" else np.zeros(batch.num_rows, dtype=bool)
            )
            for name in self.names:
                if self.step.when == "any":
                    stays &= find_present(batch.column(name))
                else:
                    stays |= find_present(batch.column(name))
            yield batch if stays.all() else batch.filter(pa.array(stays))
