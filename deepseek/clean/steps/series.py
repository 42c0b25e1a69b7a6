"""regularise: a series of times brought to a fixed frequency."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from deepseek.clean.steps.base import StepRunner, build_unfit_error, is_number, is_time
from deepseek.clean.steps.numbers import convert_to_floats
from deepseek.clean.steps.partitions import Buckets, SpilledBuckets, write_buckets
from deepseek.job import EngineError
from deepseek.messages import N_
from deepseek.partitions.rounds import Round, Rounds
from deepseek.tables.batches import Batches
from deepseek.tables.streams import BATCH_ROWS, ORIGIN_COLUMN, SpilledBatches

SECONDS = {"second": 1, "minute": 60, "hour": 3600, "day": 86_400, "week": 604_800}
PER_SECOND = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}
WIDER = {"mean": pa.float64(), "median": pa.float64(), "sum": pa.int64()}
"""What integers become."""
MAX_INSERTED_ROWS = 100_000_000
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class SeriesPart:
    """The rows of a partition, its first and last time and interval, and its rows of the first interval."""

    rows: int
    times: tuple[int, int]
    bins: tuple[int, int]
    distinct: int
    head: Buckets

    @property
    def has_one_interval(self) -> bool:
        return self.bins[0] == self.bins[1]


@dataclass(frozen=True)
class SeriesEdge:
    """The interval before a partition, how many of its rows belong to that, and where its own last one goes on."""

    last: int | None = None
    skip: int = 0
    tails: Sequence[Buckets] = ()


class RegulariseStep(StepRunner):
    """regularise: rows of one interval are neighbours, for times ascend; the last interval waits for the next batch.

    An interval belongs to the partition that has its first row.
    """

    scope = "prefix"
    heavy = True
    edge = SeriesEdge()

    def bind(self, schema: pa.Schema) -> None:
        kind = self.require_column(schema, self.step.column, "column")
        if not is_time(kind):
            raise build_unfit_error(
                self.step.column, kind, self.get_pointer("column"), "dates or times", code="column_not_time"
            )
        self.kind, self.length = kind, self._compute_interval(kind)
        self.numbers = [
            each.name
            for each in schema
            if is_number(each.type) and each.name not in (self.step.column, ORIGIN_COLUMN)
        ] if self.step.aggregate not in ("first", "last") else []  # fmt: skip
        fields = []
        for each in schema:
            wide = WIDER.get(self.step.aggregate) if pa.types.is_integer(each.type) else None
            fields.append(pa.field(each.name, wide or each.type) if each.name in self.numbers else each)
        self.schema = pa.schema(fields)

    def _compute_interval(self, kind: pa.DataType) -> int:
        """An interval in the units that the column counts in."""
        seconds = self.step.every * SECONDS[self.step.unit]
        if pa.types.is_timestamp(kind):
            return int(seconds * PER_SECOND[kind.unit])
        unit = 86_400_000 if pa.types.is_date64(kind) else 86_400
        length = seconds * (1000 if pa.types.is_date64(kind) else 1)
        if length % unit:
            raise EngineError(
                "interval_too_short",
                "The column {column!r} holds dates: an interval must be of whole days.",
                column=self.step.column,
                field=self.get_pointer("unit"),
                value=self.step.unit,
                limit="day or week",
                hint=N_("Cast the column to timestamp first."),
            )
        return int(length if pa.types.is_date64(kind) else seconds // 86_400)

    def rounds(self) -> Rounds[None]:
        if not self.is_whole:
            yield Round(self._scan_series, self._merge_series, self._accept_edge)

    def _accept_edge(self, _: None, edge: SeriesEdge) -> None:
        self.edge = edge

    def _scan_series(self, source: Batches) -> SeriesPart | None:
        self.row, distinct = self.place.first_row, 0
        head = SpilledBatches(source.schema, self.context.folder)
        first: tuple[int, int] | None = None
        last_bin = 0
        for batch in source:
            if batch.num_rows:
                bins = self._check_bins(batch)
                if first is None:
                    first, last_bin = (int(self._get_times(batch)[0]), int(bins[0])), int(bins[0]) - 1
                head.add(batch.slice(0, int(np.searchsorted(bins, first[1], side="right"))))
                distinct += int(np.count_nonzero(np.diff(bins, prepend=last_bin)))
                last_bin = int(bins[-1])
        if first is None:
            return None
        head.finish()
        rows = self.row - self.place.first_row
        folder = self.context.folder
        buckets: Buckets = SpilledBuckets(head.rows or 0, [head])
        if folder is not None:
            buckets = write_buckets(head.rows or 0, [head], source.schema, folder)
        return SeriesPart(rows, (first[0], self.before), (first[1], last_bin), distinct, buckets)

    def _merge_series(self, states: Sequence[SeriesPart | None], _: Any) -> tuple[None, list[SeriesEdge]]:
        edges, rows, distinct = [SeriesEdge()] * len(states), 0, 0
        owner: int | None = None
        previous: SeriesPart | None = None
        begin = 0
        for place, part in enumerate(states):
            if part is None:
                continue
            if previous is None:
                begin = part.bins[0]
            elif part.times[0] < previous.times[1]:
                raise self._build_order_error(rows + 1, "lies before the one above it")
            goes_on = previous is not None and part.bins[0] == previous.bins[1]
            if goes_on and owner is not None:
                edges[owner] = replace(edges[owner], tails=[*edges[owner].tails, part.head])
            edges[place] = SeriesEdge(None if previous is None else previous.bins[1], part.head.rows if goes_on else 0)
            if not (goes_on and part.has_one_interval):
                owner = place
            rows, distinct, previous = rows + part.rows, distinct + part.distinct - goes_on, part
        if previous is not None and self.step.insert:
            self._refuse_many_inserted(previous.bins[1] - begin + 1 - distinct)
        return None, edges

    def apply(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        self.last, self.row = self.edge.last, 0
        pending: list[pa.RecordBatch] = []
        tails = chain.from_iterable(tail.open_bucket(0) for tail in self.edge.tails)
        for batch in chain(skip_rows(batches, self.edge.skip), tails):
            if not batch.num_rows:
                continue
            bins = self._check_bins(batch)
            end = int(np.searchsorted(bins, bins[-1]))  # the last interval may go on
            if end or (pending and self._compute_bins(pending[-1])[-1] != bins[-1]):
                pending.append(batch.slice(0, end))
                yield from self._aggregate_intervals(pending)
                pending = []
            pending.append(batch.slice(end))
        yield from self._aggregate_intervals(pending)

    def _get_times(self, batch: pa.RecordBatch) -> Ints:
        wide = pa.int32() if pa.types.is_date32(self.kind) else pa.int64()
        return np.asarray(batch.column(self.step.column).cast(wide).to_numpy(zero_copy_only=False).astype(np.int64))

    def _compute_bins(self, batch: pa.RecordBatch) -> Ints:
        return np.asarray(self._get_times(batch) // self.length)

    def _check_bins(self, batch: pa.RecordBatch) -> Ints:
        """The interval of each row. EngineError naming the row where a time is missing, or before the one above it."""
        column = batch.column(self.step.column)
        if column.null_count:
            at = int(np.flatnonzero(column.is_null().to_numpy(zero_copy_only=False))[0])
            raise self._build_order_error(self.row + at + 1, "has no time")
        times = self._get_times(batch)
        falls = np.flatnonzero(np.diff(times, prepend=self.before if self.row else times[0]) < 0)
        if falls.size:
            raise self._build_order_error(self.row + int(falls[0]) + 1, "lies before the one above it")
        self.row, self.before = self.row + times.size, int(times[-1])
        return np.asarray(times // self.length)

    def _build_order_error(self, row: int, what: str) -> EngineError:
        return EngineError(
            "not_ascending",
            "Row {row} of the column {column!r} {what}.",
            row=row,
            column=self.step.column,
            what=what,
            field=self.get_pointer("column"),
            value=str(row),
            limit="a time in every row, ascending",
            hint=N_("Sort the table by this column, and drop rows without a time first."),
        )

    def _aggregate_intervals(self, batches: list[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """Whole intervals as one row each, after what is inserted between them."""
        table = (
            pa.Table.from_batches([batch for batch in batches if batch.num_rows], batches[0].schema)
            if batches
            else None
        )
        if table is None or not table.num_rows:
            return
        batch = table.combine_chunks().to_batches()[0]
        bins = self._compute_bins(batch)
        starts = np.flatnonzero(np.diff(bins, prepend=bins[0] - 1))
        ends = np.append(starts[1:], bins.size) - 1
        pick = pa.array(ends if self.step.aggregate == "last" else starts)
        numbers = {name: self._aggregate_column(name, batch.column(name), bins, starts) for name in self.numbers}
        arrays = []
        for each in self.schema:
            if each.name == self.step.column:
                arrays.append(self._build_times(bins[starts]))
            else:
                arrays.append(numbers[each.name] if each.name in numbers else batch.column(each.name).take(pick))
        yield from self._insert_missing(pa.RecordBatch.from_arrays(arrays, schema=self.schema), bins[starts])

    def _build_times(self, bins: Ints) -> pa.Array:
        units = bins * self.length
        return pa.array(units.astype(np.int32) if pa.types.is_date32(self.kind) else units).cast(self.kind)

    def _aggregate_column(self, name: str, column: pa.Array, bins: Ints, starts: Ints) -> pa.Array:
        how, is_integer = self.step.aggregate, pa.types.is_integer(column.type)
        if is_integer and how == "sum":
            return self._sum_integers(name, column, bins, starts)
        import pandas as pd  # half of a process's start

        if is_integer and how not in WIDER:
            values = pd.Series(pd.arrays.IntegerArray(
                column.fill_null(0).to_numpy(zero_copy_only=False).copy(),
                column.is_null().to_numpy(zero_copy_only=False).copy(),
            ))  # fmt: skip
        else:
            values = pd.Series(convert_to_floats(column).astype(np.float64, copy=False))
        grouped = values.groupby(bins, sort=False)
        aggregated = grouped.sum(min_count=1) if how == "sum" else getattr(grouped, how)()
        return pa.Array.from_pandas(aggregated).cast(self.schema.field(name).type, safe=is_integer)

    def _sum_integers(self, name: str, column: pa.Array, bins: Ints, starts: Ints) -> pa.Array:
        """Sums of integers, exact: of their upper and lower 32 bits apart, so that none wraps round unseen."""
        values = column.fill_null(0).to_numpy(zero_copy_only=False)
        values = values if values.dtype == np.uint64 else values.astype(np.int64)
        low = np.add.reduceat((values & values.dtype.type(0xFFFFFFFF)).astype(np.int64), starts)
        high = np.add.reduceat((values >> values.dtype.type(32)).astype(np.int64), starts) + (low >> 32)
        beyond = np.flatnonzero((high < -(2**31)) | (high >= 2**31))
        if beyond.size:
            begin = self._build_times(bins[starts[beyond[:1]]])[0].as_py()
            raise EngineError(
                "value_not_fit",
                "The sum of the column {name!r} in the interval from {quoted} does not fit an integer of 64 bits.",
                name=name,
                quoted=self.quote_value([self.step.column], str(begin)),
                field=self.get_pointer("aggregate"),
                value=name,
                limit="sums from -2**63 to 2**63 - 1",
                hint=N_("Cast the column to number before this step, or choose another aggregate."),
            )
        empty = np.add.reduceat(column.is_valid().to_numpy(zero_copy_only=False).astype(np.int64), starts) == 0
        return pa.array((high << 32) | (low & 0xFFFFFFFF), mask=empty)

    def _insert_missing(self, rows: pa.RecordBatch, bins: Ints) -> Iterator[pa.RecordBatch]:
        """The rows, with one of missing values for each interval between them; the first gap is to the batch before."""
        last, self.last = self.last, int(bins[-1])
        if not self.step.insert:
            yield rows
            return
        first = last + 1 if last is not None else int(bins[0])
        total = int(bins[-1]) - first + 1
        self.inserted += total - bins.size
        self._refuse_many_inserted(self.inserted)
        for start in range(first, first + total, BATCH_ROWS):
            expected = np.arange(start, min(start + BATCH_ROWS, first + total))
            at = np.searchsorted(bins, expected)
            is_present = bins[np.minimum(at, bins.size - 1)] == expected
            part = rows.take(pa.array(at, mask=~is_present))
            place = self.schema.get_field_index(self.step.column)
            yield part.set_column(place, self.schema.field(place), self._build_times(expected))

    def _refuse_many_inserted(self, inserted: int) -> None:
        if inserted > MAX_INSERTED_ROWS:
            raise EngineError(
                "too_many_inserted",
                "More than {most_inserted:,} rows would be inserted.",
                most_inserted=MAX_INSERTED_ROWS,
                field=self.get_pointer("every"),
                value=f"{self.step.every} {self.step.unit}",
                limit=f"{MAX_INSERTED_ROWS:,} rows",
                hint=N_("Choose a longer interval, or insert no rows."),
            )

    last: int | None = None
    before: int = 0


def skip_rows(batches: Iterator[pa.RecordBatch], rows: int) -> Iterator[pa.RecordBatch]:
    """The batches without their first rows."""
    for batch in batches:
        yield batch.slice(rows) if rows else batch
        rows = max(0, rows - batch.num_rows)
