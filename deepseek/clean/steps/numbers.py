"""Steps that put other numbers into columns of numbers; the column keeps its type wherever the new values allow it."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from deepseek.clean.column import compute_allowed_range
from deepseek.clean.float_fill import EXACT_INTEGER
from deepseek.clean.order_statistics import ReadPartition
from deepseek.clean.sorting_networks import find_true
from deepseek.clean.steps.base import StepRunner, change_types, is_number, replace_columns
from deepseek.clean.steps.fences import fence_rounds
from deepseek.clean.window_medians import CHUNK_BYTES, Floats, compute_medians_at, compute_middle
from deepseek.job import EngineError
from deepseek.messages import N_
from deepseek.partitions.rounds import Round, Rounds
from deepseek.quality.outliers import Fences
from deepseek.tables.batches import Batches
from deepseek.tables.streams import select_columns

Mask = npt.NDArray[np.bool_]
FLAG_SUFFIX = "__outlier"


class NewValues(NamedTuple):
    """A column's values after the step, NaN where missing; which of them it changed; which were outliers."""

    values: Floats
    changed: Mask
    outside: Mask | None = None


class WindowContext(NamedTuple):
    """A column's values in a batch with up to so many rows of its neighbours on either side."""

    values: Floats
    start: int
    size: int

    @property
    def own(self) -> Floats:
        return self.values[self.start : self.start + self.size]


def convert_to_floats(column: pa.Array) -> Floats:
    """The numbers in their own dtype if they are floats, else in float64; NaN where missing."""
    if pa.types.is_integer(column.type):
        column = column.cast(pa.float64(), safe=False)
    return np.asarray(column.to_numpy(zero_copy_only=False))


@dataclass
class IntegerChanges:
    """Of columns of integers: which receive values that are not whole, or beyond their type; and the largest value."""

    uneven: set[str] = field(default_factory=set)
    wide: set[str] = field(default_factory=set)
    largest: dict[str, float] = field(default_factory=dict)

    @classmethod
    def merge(cls, states: Sequence[IntegerChanges]) -> IntegerChanges:
        """The changes of all partitions."""
        merged = cls()
        for state in states:
            merged.uneven |= state.uneven
            merged.wide |= state.wide
            for name, largest in state.largest.items():
                merged.largest[name] = max(merged.largest.get(name, 0.0), largest)
        return merged


class WindowEdges(NamedTuple):
    """A partition's neighbours: the values of up to half a window of rows before and behind it, by column."""

    before: Mapping[str, Floats]
    after: Mapping[str, Floats]


NO_EDGES = WindowEdges({}, {})


def iter_with_context(
    batches: Iterator[pa.RecordBatch], names: Sequence[str], half: int, edges: WindowEdges = NO_EDGES
) -> Iterator[tuple[pa.RecordBatch, dict[str, WindowContext]]]:
    """Each batch with its columns as floats, and `half` rows before and behind it: no window ends at its borders."""
    waiting: deque[tuple[pa.RecordBatch, dict[str, Floats]]] = deque()
    before = dict(edges.before)
    ahead = 0

    def release() -> tuple[pa.RecordBatch, dict[str, WindowContext]]:
        batch, values = waiting.popleft()
        contexts = {}
        for name, own in values.items():
            left = before.get(name, own[:0])
            right: list[Floats] = []
            lack = half
            for _, later in waiting:
                if lack <= 0:
                    break
                right.append(later[name][:lack])
                lack -= right[-1].size
            if lack > 0 and name in edges.after:  # the partition ends here
                right.append(edges.after[name][:lack])
            contexts[name] = WindowContext(np.concatenate([left, own, *right]) if half else own, left.size, own.size)
            if half:
                before[name] = (own if own.size >= half else np.concatenate([left, own]))[-half:]
        return batch, contexts

    for batch in batches:
        if waiting:
            ahead += batch.num_rows
        waiting.append((batch, {name: convert_to_floats(batch.column(name)) for name in names}))
        while waiting and ahead >= half and len(waiting) > (half > 0):
            yield release()
            ahead -= waiting[0][0].num_rows if waiting else 0
    while waiting:
        yield release()


def window_edge_rounds(names: Sequence[str], half: int) -> Rounds[WindowEdges]:
    """One round: the edges of each partition, whose neighbours may have fewer rows than half a window."""
    edges = NO_EDGES

    def scan(source: Batches) -> tuple[dict[str, Floats], dict[str, Floats]]:
        heads: dict[str, Floats] = {}
        tails: dict[str, Floats] = {}
        for batch in select_columns(source, names):
            for name in names:
                values = convert_to_floats(batch.column(name))
                head = heads.get(name, values[:0])
                heads[name] = np.concatenate([head, values[: half - head.size]]) if head.size < half else head
                tails[name] = np.concatenate([tails.get(name, values[:0]), values[-half:]])[-half:]
        return heads, tails

    def merge(states: Sequence[Any], _: Any) -> tuple[None, list[WindowEdges]]:
        before = _accumulate_edges(
            [tails for _, tails in states], lambda own, near: np.concatenate([near, own])[-half:]
        )
        after = _accumulate_edges(
            [heads for heads, _ in reversed(states)], lambda own, near: np.concatenate([own, near])[:half]
        )
        return None, [WindowEdges(*pair) for pair in zip(before, reversed(after), strict=True)]

    def accept(_: None, edge: WindowEdges) -> None:
        nonlocal edges
        edges = edge

    yield Round(scan, merge, accept)
    return edges


def _accumulate_edges(
    states: Sequence[Mapping[str, Floats]], join: Callable[[Floats, Floats], Floats]
) -> list[dict[str, Floats]]:
    """For each partition, what those before it have left; an empty one passes on what it received."""
    edges: list[dict[str, Floats]] = []
    near: dict[str, Floats] = {}
    for own in states:
        edges.append(dict(near))
        near = near | {name: join(values, near.get(name, values[:0])) for name, values in own.items()}
    return edges


class NumericStep(StepRunner):
    """Base class of numeric steps. A subclass computes the new values of a column from a window of context."""

    scope = "global"
    half = 0
    heavy = True
    flags = False

    def get_target_columns(self, schema: pa.Schema) -> list[str]:
        return self.choose_columns(schema, is_number, "a column of integers or floats", code="column_not_numeric")

    def value_rounds(self) -> Rounds[None]:
        """Rounds for what the new values depend on, such as fences."""
        yield from ()

    def compute_values(self, name: str, context: WindowContext, first: int) -> NewValues:
        """The column after the step; `first` is the number of the batch's first row."""
        raise NotImplementedError

    def has_named_columns(self) -> bool:
        return getattr(self.step, "columns", None) is not None

    def get_field_pointer(self, name: str) -> str:
        return (
            self.get_pointer("columns", self.step.columns.index(name))
            if self.has_named_columns()
            else self.get_pointer("columns")
        )

    def bind(self, schema: pa.Schema) -> None:
        self.names = self.get_target_columns(schema)
        self.edges = NO_EDGES

    def rounds(self) -> Rounds[None]:
        if self.half and not self.is_whole:
            self.edges = yield from window_edge_rounds(self.names, self.half)
        yield from self.value_rounds()
        self._promoted = yield from self._integer_rounds()
        self.schema = change_types(self.source_schema, self._promoted)
        if self.flags:
            self._add_flags()

    def _add_flags(self) -> None:
        fields: list[pa.Field] = []
        for each in self.schema:
            fields.append(each)
            if each.name in self.names:
                name = self.require_free_name(self.schema, each.name + FLAG_SUFFIX, "action")
                fields.append(pa.field(name, pa.bool_()))
        self.schema = pa.schema(fields)

    def _integer_rounds(self) -> Rounds[dict[str, pa.DataType]]:
        """Which integer columns must become float64, for a new value is not whole, or int64, for one does not fit their
        type; those that can be neither are refused."""
        wholes = [name for name in self.names if pa.types.is_integer(self.source_schema.field(name).type)]
        if not wholes or not self.can_change_integers():
            return {}
        changes = IntegerChanges()

        def scan(source: Batches) -> IntegerChanges:
            return self._scan_integers(source, wholes)

        def merge(states: Sequence[IntegerChanges], _: Any) -> tuple[IntegerChanges, list[None]]:
            return IntegerChanges.merge(states), [None] * len(states)

        def accept(shared: IntegerChanges, _: None) -> None:
            nonlocal changes
            changes = shared

        yield Round(scan, merge, accept)
        for name in wholes:
            if name in changes.uneven | changes.wide and changes.largest.get(name, 0.0) > EXACT_INTEGER:
                error = build_inexact_error(name, self.get_field_pointer(name))
                if self.has_named_columns():
                    raise error
                self.context.warnings.append(f"Column {name!r} was left as it is: {error.message}")
                self.names.remove(name)
        kinds = dict.fromkeys(changes.wide, pa.int64()) | dict.fromkeys(changes.uneven, pa.float64())
        return {name: kinds[name] for name in self.names if name in kinds}

    def _scan_integers(self, source: Batches, wholes: Sequence[str]) -> IntegerChanges:
        changes = IntegerChanges()
        limits = {name: np.iinfo(self.source_schema.field(name).type.to_pandas_dtype()) for name in wholes}
        columns = select_columns(source, self.add_needed_columns(list(wholes)))
        for _, after in self.iter_changes(iter(columns), wholes):
            for name, new in after.items():
                fresh = new.values[new.changed]
                fresh = fresh[~np.isnan(fresh)]
                if not ((fresh == np.floor(fresh)) & (np.abs(fresh) <= EXACT_INTEGER)).all():
                    changes.uneven.add(name)
                if ((fresh < limits[name].min) | (fresh > limits[name].max)).any():
                    changes.wide.add(name)
                present = new.values[~np.isnan(new.values)]
                if present.size:
                    largest = float(np.abs(present).max())
                    changes.largest[name] = max(changes.largest.get(name, 0.0), largest)
        return changes

    def can_change_integers(self) -> bool:
        return True

    def add_needed_columns(self, names: list[str]) -> list[str]:
        """These columns and those that the step reads besides."""
        return names

    def iter_changes(
        self, batches: Iterator[pa.RecordBatch], names: Sequence[str]
    ) -> Iterator[tuple[pa.RecordBatch, dict[str, NewValues]]]:
        """Each batch with what becomes of its columns."""
        first = 0
        for batch, contexts in iter_with_context(batches, names, self.half, self.edges):
            self.prepare_batch(batch)
            yield batch, {name: self.compute_values(name, contexts[name], first) for name in names}
            first += batch.num_rows

    def prepare_batch(self, batch: pa.RecordBatch) -> None:
        """Remember the batch that the next calls of `compute_values` are about."""

    def apply(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch, changes in self.iter_changes(batches, self.names):
            columns: dict[str, pa.Array] = {}
            for name, new in changes.items():
                columns[name] = self._build_column(batch.column(name), new, self._promoted.get(name))
                self.count(name, int(np.count_nonzero(new.changed)))
                if new.outside is not None:
                    self.found[name] = self.found.get(name, 0) + int(new.outside.sum())
                    if self.flags:
                        columns[name + FLAG_SUFFIX] = pa.array(new.outside)
            yield replace_columns(batch, self.schema, columns)

    def _build_column(self, column: pa.Array, new: NewValues, promoted: pa.DataType | None) -> pa.Array:
        if promoted is not None and pa.types.is_floating(promoted):
            return pa.array(new.values, type=promoted, from_pandas=True)
        if promoted is not None:
            column = column.cast(promoted)
        if not new.changed.any():
            return column
        if pa.types.is_integer(column.type):
            values = column.fill_null(0).to_numpy(zero_copy_only=False).copy()
            put_in = new.changed & ~np.isnan(new.values)
            values[put_in] = new.values[put_in].astype(values.dtype)
            return pa.array(values, type=column.type, mask=np.isnan(new.values))
        return pa.array(new.values, type=column.type, from_pandas=True)


def build_inexact_error(name: str, field: str) -> EngineError:
    return EngineError(
        "inexact_integers",
        "The column {name!r} holds integers beyond 2**53, and a new value that cannot stand among them.",
        name=name,
        field=field,
        value=name,
        limit="integers up to 9007199254740992",
        hint=N_("Leave the column out (identifiers need no fill), or store it as float64 first."),
    )


def fill_by_median(values: Floats, start: int, size: int, half: int) -> tuple[Floats, Mask]:
    """The part ``[start, start + size)`` of the values with its gaps filled, and which rows were."""
    own = values[start : start + size]
    rows = find_true(np.isnan(own))
    changed = np.zeros(size, dtype=bool)
    if not rows.size:
        return own, changed
    medians = compute_medians_at(values, rows + start, half, gaps=True)
    filled = own.copy()
    filled[rows] = medians
    changed[rows] = ~np.isnan(medians)
    return filled, changed


class FillMedianStep(NumericStep):
    """fill_median"""

    passes = True

    def get_target_columns(self, schema: pa.Schema) -> list[str]:
        self.half = self.step.window_size // 2
        return super().get_target_columns(schema)

    def compute_values(self, name: str, context: WindowContext, first: int) -> NewValues:
        return NewValues(*fill_by_median(*context, self.half))


class OutliersStep(NumericStep):
    """outliers"""

    passes = True

    def get_target_columns(self, schema: pa.Schema) -> list[str]:
        self.flags = self.step.action == "flag"
        return super().get_target_columns(schema)

    def can_change_integers(self) -> bool:
        return bool(self.step.action == "cap")

    def value_rounds(self) -> Rounds[None]:
        self.fences = {}
        for name in self.names:
            self.fences[name] = yield from fence_rounds(self.step, build_reader(name))
        notes = [(name, fence.note) for name, fence in self.fences.items() if fence.note]
        self.context.warnings += [f"Column {name!r}: {note}." for name, note in notes]
        self.wholes = {name for name in self.names if pa.types.is_integer(self.source_schema.field(name).type)}

    def compute_values(self, name: str, context: WindowContext, first: int) -> NewValues:
        return treat_outliers(context.own, self.fences[name], self.step.action, name in self.wholes)


def build_reader(name: str) -> ReadPartition:
    """A reader of the column's values in float64."""
    return lambda source: (
        convert_to_floats(batch.column(0)).astype(np.float64, copy=False) for batch in select_columns(source, [name])
    )


def treat_outliers(values: Floats, fence: Fences, action: str, is_integer: bool) -> NewValues:
    """What an action makes of the values outside of the fences."""
    outside = fence.outside(values)
    if action == "flag" or not outside.any():
        return NewValues(values, np.zeros(values.size, dtype=bool), outside)
    after = values.copy()
    if action == "blank":
        after[outside] = np.nan
    else:
        lower, upper = compute_allowed_range(fence, values.dtype, is_integer)
        after[outside] = np.clip(values[outside], lower, upper)
    return NewValues(after, outside, outside)


class HampelStep(NumericStep):
    """hampel"""

    passes = True

    def get_target_columns(self, schema: pa.Schema) -> list[str]:
        self.half = self.step.window_size // 2
        self.flags = self.step.action == "flag"
        return super().get_target_columns(schema)

    def can_change_integers(self) -> bool:
        return bool(self.step.action == "cap")

    def compute_values(self, name: str, context: WindowContext, first: int) -> NewValues:
        own = context.own
        center, reach = compute_hampel(*context, self.half)
        with np.errstate(invalid="ignore", over="ignore"):
            outside = np.abs(own.astype(np.float64) - center) > self.step.threshold * 1.4826 * reach
        if self.step.action == "flag" or not outside.any():
            return NewValues(own, np.zeros(own.size, dtype=bool), outside)
        after = own.copy()
        after[outside] = np.nan if self.step.action == "blank" else center[outside].astype(own.dtype)
        return NewValues(after, outside, outside)


def compute_hampel(values: Floats, start: int, size: int, half: int) -> tuple[Floats, Floats]:
    """Median, and median absolute deviation from it, of the window around each row of ``[start, start + size)``."""
    gap = np.full(half, np.nan)
    padded = np.concatenate([gap, values.astype(np.float64, copy=False), gap])
    windows = np.lib.stride_tricks.sliding_window_view(padded, 2 * half + 1)[start : start + size]
    center, reach = np.empty(size), np.empty(size)
    step = max(1, CHUNK_BYTES // (8 * (2 * half + 1)))
    for begin in range(0, size, step):
        cells = windows[begin : begin + step].copy()
        center[begin : begin + step] = _compute_medians(cells)
        with np.errstate(invalid="ignore", over="ignore"):
            away = np.abs(windows[begin : begin + step] - center[begin : begin + step, None])
        reach[begin : begin + step] = _compute_medians(away)
    return center, reach


def _compute_medians(cells: Floats) -> Floats:
    """The median of what is present in each row; the cells are sorted in place."""
    cells.sort(axis=1)
    width = cells.shape[1]
    count = width - np.count_nonzero(np.isnan(cells), axis=1)
    rows = np.arange(cells.shape[0])
    low = cells[rows, np.maximum(count - 1, 0) // 2]
    return compute_middle(low, cells[rows, np.minimum(count // 2, width - 1)], count)


class ConvertStep(NumericStep):
    """convert: a * x + b; integers stay integers where every result is whole."""

    passes = True

    def compute_values(self, name: str, context: WindowContext, first: int) -> NewValues:
        own = context.own
        with np.errstate(over="ignore", invalid="ignore"):
            after = own * own.dtype.type(self.step.multiply) + own.dtype.type(self.step.add)
        after[~np.isfinite(after)] = np.nan
        return NewValues(after, ~np.isnan(own))
