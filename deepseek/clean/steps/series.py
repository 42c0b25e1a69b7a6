"""regularise: a series of times brought to a fixed frequency."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

from deepseek.clean.steps.base import StepRunner, build_unfit_error, is_number, is_time
from deepseek.clean.steps.numbers import convert_to_floats
from deepseek.job import EngineError
from deepseek.messages import N_
from deepseek.tables.batches import Batches
from deepseek.tables.streams import BATCH_ROWS, ORIGIN_COLUMN

SECONDS = {"second": 1, "minute": 60, "hour": 3600, "day": 86_400, "week": 604_800}
PER_SECOND = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}
WIDER = {"mean": pa.float64(), "median": pa.float64(), "sum": pa.int64()}
"""What integers become."""
MAX_INSERTED_ROWS = 100_000_000
Ints = npt.NDArray[np.int64]


class RegulariseStep(StepRunner):
    """regularise: rows of one interval are neighbours, for times ascend; the last interval waits for the next batch."""

    heavy = True

    def prepare(self, source: Batches) -> None:
        kind = self.require_column(source.schema, self.step.column, "column")
        if not is_time(kind):
            raise build_unfit_error(
                self.step.column, kind, self.get_pointer("column"), "dates or times", code="column_not_time"
            )
        self.kind, self.length = kind, self._compute_interval(kind)
        self.numbers = [
            each.name
            for each in source.schema
            if is_number(each.type) and each.name not in (self.step.column, ORIGIN_COLUMN)
        ] if self.step.aggregate not in ("first", "last") else []  # fmt: skip
        fields = []
        for each in source.schema:
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

    def apply(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        self.last, self.row = None, 0
        pending: list[pa.RecordBatch] = []
        for batch in batches:
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

    def _compute_bins(self, batch: pa.RecordBatch) -> Ints:
        wide = pa.int32() if pa.types.is_date32(self.kind) else pa.int64()
        times = batch.column(self.step.column).cast(wide).to_numpy(zero_copy_only=False).astype(np.int64)
        return np.asarray(times // self.length)

    def _check_bins(self, batch: pa.RecordBatch) -> Ints:
        """The interval of each row. EngineError naming the row where a time is missing, or before the one above it."""
        column = batch.column(self.step.column)
        if column.null_count:
            at = int(np.flatnonzero(column.is_null().to_numpy(zero_copy_only=False))[0])
            raise self._build_order_error(self.row + at + 1, "has no time")
        wide = pa.int32() if pa.types.is_date32(self.kind) else pa.int64()
        times = column.cast(wide).to_numpy(zero_copy_only=False).astype(np.int64)
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
        if self.inserted > MAX_INSERTED_ROWS:
            raise EngineError(
                "too_many_inserted",
                "More than {most_inserted:,} rows would be inserted.",
                most_inserted=MAX_INSERTED_ROWS,
                field=self.get_pointer("every"),
                value=f"{self.step.every} {self.step.unit}",
                limit=f"{MAX_INSERTED_ROWS:,} rows",
                hint=N_("Choose a longer interval, or insert no rows."),
            )
        for start in range(first, first + total, BATCH_ROWS):
            expected = np.arange(start, min(start + BATCH_ROWS, first + total))
            at = np.searchsorted(bins, expected)
            is_present = bins[np.minimum(at, bins.size - 1)] == expected
            part = rows.take(pa.array(at, mask=~is_present))
            place = self.schema.get_field_index(self.step.column)
            yield part.set_column(place, self.schema.field(place), self._build_times(expected))

    last: int | None = None
    before: int = 0
