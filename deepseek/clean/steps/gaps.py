"""Steps that fill gaps from what stands beside them, whatever the type, and one that drops the rows."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
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
from deepseek.partitions.rounds import Round, Rounds
from deepseek.tables.batches import Batches
from deepseek.tables.streams import select_columns

Neighbour = tuple[pa.Array, int]
"""An array of one present value, and how many rows away it stands."""
Point = tuple[float, float]


def find_present(column: pa.Array) -> npt.NDArray[np.bool_]:
    return np.asarray(column.is_valid().to_numpy(zero_copy_only=False), dtype=bool)


def has_value_type(kind: pa.DataType) -> bool:
    return not pa.types.is_null(kind)


class FillForwardStep(StepRunner):
    """fill_forward: what was seen last is carried from batch to batch, and from partition to partition."""

    scope = "prefix"

    def bind(self, schema: pa.Schema) -> None:
        self.names = self.choose_columns(schema, has_value_type, "a column with values", code="column_all_missing")
        self.last: dict[str, Neighbour] = {}

    def rounds(self) -> Rounds[None]:
        if not self.is_whole:
            yield Round(self._scan_last_values, merge_last_values, self._accept_last_values)

    def _scan_last_values(self, source: Batches) -> tuple[dict[str, Neighbour], int]:
        last: dict[str, Neighbour] = {}
        rows = 0
        for batch in select_columns(source, self.names):
            carry_last_values(last, batch, self.names)
            rows += batch.num_rows
        return last, rows

    def _accept_last_values(self, _: None, edge: dict[str, Neighbour]) -> None:
        self.last = edge

    def restrict_columns(self, names: Collection[str]) -> FillForwardStep:
        clone = self.copy_for_columns(names)
        clone.names = [name for name in self.names if name in names]
        return clone

    def apply(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        last = dict(self.last)
        for batch in batches:
            new = {}
            for name in self.names:
                new[name], filled = self.fill(batch.column(name), last.get(name))
                self.count(name, filled)
            carry_last_values(last, batch, self.names)
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


def carry_last_values(last: dict[str, Neighbour], batch: pa.RecordBatch, names: Sequence[str]) -> None:
    """Move on behind the batch."""
    for name in names:
        column = batch.column(name)
        rows = np.flatnonzero(find_present(column))
        if rows.size:
            last[name] = (column.slice(int(rows[-1]), 1), len(column) - int(rows[-1]))
        elif name in last:
            last[name] = (last[name][0], last[name][1] + len(column))


def merge_last_values(
    states: Sequence[tuple[dict[str, Neighbour], int]], _: Any
) -> tuple[None, list[dict[str, Neighbour]]]:
    """For each partition, the last values of those before it."""
    edges: list[dict[str, Neighbour]] = []
    before: dict[str, Neighbour] = {}
    for last, rows in states:
        edges.append(before)
        before = {name: (value, away + rows) for name, (value, away) in before.items()} | last
    return None, edges


@dataclass
class NextValues:
    """Per batch of a partition its rows, and per column and batch the first present value behind it."""

    sizes: list[int]
    values: dict[str, list[Neighbour | None]]


def scan_first_values(source: Batches, names: Sequence[str]) -> NextValues:
    """Per column and batch its own first present value; a later batch may be far away, for gaps may be long."""
    first = NextValues([], {name: [] for name in names})
    for batch in select_columns(source, names):
        first.sizes.append(batch.num_rows)
        for name in names:
            column = batch.column(name)
            rows = np.flatnonzero(find_present(column))
            first.values[name].append((column.slice(int(rows[0]), 1), int(rows[0])) if rows.size else None)
    return first


def merge_first_values(states: Sequence[NextValues], _: Any) -> tuple[None, list[NextValues]]:
    """What stands behind each batch, in its partition or in a later one."""
    edges = []
    following: dict[str, Neighbour] = {}
    for first in reversed(states):
        following_values: dict[str, list[Neighbour | None]] = {}
        for name, own_values in first.values.items():
            values: list[Neighbour | None] = []
            near = following.pop(name, None)
            for own, size in zip(reversed(own_values), reversed(first.sizes), strict=True):
                values.append(near)
                near = own if own is not None else (near[0], near[1] + size) if near else None
            following_values[name] = values[::-1]
            if near is not None:
                following[name] = near
        edges.append(NextValues(first.sizes, following_values))
    return None, edges[::-1]


class FillBackwardStep(StepRunner):
    """fill_backward"""

    scope = "prefix"
    passes = True

    def bind(self, schema: pa.Schema) -> None:
        self.names = self.choose_columns(schema, has_value_type, "a column with values", code="column_all_missing")

    def rounds(self) -> Rounds[None]:
        yield Round(lambda source: scan_first_values(source, self.names), merge_first_values, self._accept_next_values)

    def _accept_next_values(self, _: None, edge: NextValues) -> None:
        self.following, self.sizes = edge.values, edge.sizes

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


@dataclass
class PartitionPoints:
    """Of a partition its batches' rows, the first present point of each batch by column, and its last points."""

    sizes: list[int]
    firsts: dict[str, list[Point | None]]
    last: dict[str, Point]

    def move(self, rows: int) -> PartitionPoints:
        """The points, so many rows further on."""
        firsts = {
            name: [point and (point[0] + rows, point[1]) for point in points] for name, points in self.firsts.items()
        }
        return PartitionPoints(self.sizes, firsts, {name: (x + rows, y) for name, (x, y) in self.last.items()})


@dataclass
class PointEdges:
    """The last points before a partition, and by column the first point behind each of its batches."""

    first_row: int
    sizes: list[int]
    before: dict[str, Point]
    following: dict[str, list[Point | None]]


class FillLinearStep(NumericStep):
    """fill_linear: y0 + (y1 - y0) * ((x - x0) / (x1 - x0)), with x the row or the column `along`."""

    passes = True

    def get_target_columns(self, schema: pa.Schema) -> list[str]:
        along = self.step.along
        names = super().get_target_columns(schema)
        if along is not None:
            kind = self.require_column(schema, along, "along")
            if not (is_number(kind) or is_time(kind)):
                raise build_unfit_error(
                    along, kind, self.get_pointer("along"), "numbers, dates or times", code="column_not_numeric"
                )
        return names

    def value_rounds(self) -> Rounds[None]:
        if self.step.along is not None:
            yield Round(self._scan_axis, self._merge_axes, lambda _, edge: None)
        yield Round(self._scan_points, self._merge_points, self._accept_points)

    def _accept_points(self, _: None, edge: PointEdges) -> None:
        self.edge = edge

    def add_needed_columns(self, names: list[str]) -> list[str]:
        along = self.step.along
        return names if along is None or along in names else [*names, along]

    def _scan_axis(self, source: Batches) -> tuple[int, float, float] | None:
        """Rows, first and last place of a partition. EngineError where a place is missing, or falls."""
        along = self.step.along
        first, last, row = np.nan, -np.inf, 0
        for batch in select_columns(source, [along]):
            x = convert_to_axis(batch.column(0))
            if np.isnan(x).any():
                at = int(np.flatnonzero(np.isnan(x))[0])
                raise self._build_axis_error(along, f"has no value in row {self.place.first_row + row + at + 1}")
            falls = np.flatnonzero(np.diff(x, prepend=last) < 0)
            if falls.size:
                raise self._build_axis_error(along, f"falls in row {self.place.first_row + row + int(falls[0]) + 1}")
            first, last, row = (first if row else float(x[0])), float(x[-1]), row + x.size
        return (row, first, last) if row else None

    def _merge_axes(self, states: Sequence[tuple[int, float, float] | None], _: Any) -> tuple[None, list[None]]:
        before, row = -np.inf, 0
        for state in states:
            if state is not None:
                if state[1] < before:
                    raise self._build_axis_error(self.step.along, f"falls in row {row + 1}")
                before, row = state[2], row + state[0]
        return None, [None] * len(states)

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

    def _scan_points(self, source: Batches) -> PartitionPoints:
        """The first present point of each batch, and the last of the partition; rows count from its first."""
        points = PartitionPoints([], {name: [] for name in self.names}, {})
        start = 0
        for batch in select_columns(source, self.add_needed_columns(list(self.names))):
            points.sizes.append(batch.num_rows)
            x = self._get_axis(batch, start)
            for name in self.names:
                y = convert_to_floats(batch.column(name)).astype(np.float64, copy=False)
                rows = np.flatnonzero(~np.isnan(y))
                points.firsts[name].append((float(x[rows[0]]), float(y[rows[0]])) if rows.size else None)
                if rows.size:
                    points.last[name] = (float(x[rows[-1]]), float(y[rows[-1]]))
            start += batch.num_rows
        return points

    def _merge_points(self, states: Sequence[PartitionPoints], _: Any) -> tuple[None, list[PointEdges]]:
        rows = [0, *np.cumsum([sum(state.sizes) for state in states]).tolist()]
        if self.step.along is None:
            states = [state.move(first) for state, first in zip(states, rows, strict=False)]
        edges = []
        before: dict[str, Point] = {}
        for state, first in zip(states, rows, strict=False):
            edges.append(PointEdges(first, state.sizes, before, {}))
            before = before | state.last
        following: dict[str, Point] = {}
        for state, edge in zip(reversed(states), reversed(edges), strict=True):
            for name, firsts in state.firsts.items():
                points: list[Point | None] = []
                near = following.get(name)
                for own in reversed(firsts):
                    points.append(near)
                    near = own or near
                edge.following[name] = points[::-1]
                if near is not None:
                    following[name] = near
        return None, edges

    def _get_axis(self, batch: pa.RecordBatch, start: int) -> npt.NDArray[np.float64]:
        if self.step.along is None:
            return np.arange(start, start + batch.num_rows, dtype=np.float64)
        return convert_to_axis(batch.column(self.step.along))

    def iter_changes(self, batches: Iterator[pa.RecordBatch], names: Any) -> Any:
        self.number, self.before = -1, dict(self.edge.before)
        return super().iter_changes(batches, names)

    def prepare_batch(self, batch: pa.RecordBatch) -> None:
        self.number += 1
        self.batch = batch
        if batch.num_rows != self.edge.sizes[self.number]:
            raise RuntimeError("the batches of the second reading are not those of the first")

    def compute_values(self, name: str, context: WindowContext, first: int) -> NewValues:
        own = context.own
        y = own.astype(np.float64, copy=False)
        x = self._get_axis(self.batch, self.edge.first_row + first)
        is_present = ~np.isnan(y)
        following = self.edge.following[name][self.number]
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

    def bind(self, schema: pa.Schema) -> None:
        self.names = self.choose_columns(schema, lambda kind: True, "any column", code="column_not_fit")
        self.values = {}
        fields = list(schema)
        for place, name in enumerate(self.names):
            kind = schema.field(name).type
            if pa.types.is_null(kind):  # no value at all: a column of texts from here on
                kind = pa.string()
                fields[schema.get_field_index(name)] = pa.field(name, kind)
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

    def bind(self, schema: pa.Schema) -> None:
        names = self.choose_columns(schema, lambda kind: True, "any column", code="column_not_fit")
        self.names = names or list_visible_columns(schema)

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
