"""Steps that decide which rows stay: conditions, and duplicates."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from itertools import chain

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from deepseek.clean.steps.base import StepRunner, is_text, unfit
from deepseek.clean.steps.partitions import ROW, divided, parted
from deepseek.clean.steps.values import scalar_of
from deepseek.clean.steps_spec import Condition
from deepseek.tables.batches import Batches
from deepseek.tables.streams import BATCH_ROWS, SpilledBatches, merge_into_batch, rechunk

COMPARE = {
    "eq": pc.equal,
    "ne": pc.not_equal,
    "lt": pc.less,
    "le": pc.less_equal,
    "gt": pc.greater,
    "ge": pc.greater_equal,
}
TEXTUAL = {"contains": pc.match_substring, "starts_with": pc.starts_with, "ends_with": pc.ends_with}
READ_BYTES = 16 * 2**20
"""So much of a part is compared at once."""
KEYS_BYTES = 32 * 2**20
"""A part whose keys, each once, take more is parted again, at most LEVELS times."""
LEVELS = 4


class Filter(StepRunner):
    """filter"""

    def prepare(self, source: Batches) -> None:
        self.values: list[pa.Scalar | None] = []
        for place, one in enumerate(self.step.conditions):
            kind = self.need(source.schema, one.column, "conditions", place, "column")
            self.values.append(self._value(one, kind, place))

    def _value(self, one: Condition, kind: pa.DataType, place: int) -> pa.Scalar | None:
        if one.op in TEXTUAL and not is_text(kind):
            raise unfit(
                one.column, kind, self.at("conditions", place, "column"), "a text column", code="column_not_text"
            )
        if one.op in TEXTUAL or one.op in ("is_missing", "is_present") or pa.types.is_null(kind):
            return None
        wide = pa.float64() if pa.types.is_integer(kind) and not _whole(one.value) else kind
        return scalar_of(one.value, wide, self.at("conditions", place, "value"), one.column)

    def narrowed(self, names: Collection[str]) -> Filter:
        return self.on({*names, *(one.column for one in self.step.conditions)})

    def apply(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        join = np.logical_and if self.step.match == "all" else np.logical_or
        for batch in batches:
            holds = [
                self._holds(one, value, batch.column(one.column))
                for one, value in zip(self.step.conditions, self.values, strict=True)
            ]
            stay = join.reduce(holds)
            yield batch if stay.all() else batch.filter(pa.array(stay))

    def _holds(self, one: Condition, value: pa.Scalar | None, column: pa.Array) -> npt.NDArray[np.bool_]:
        if one.op == "is_missing":
            found = column.is_null()
        elif one.op == "is_present":
            found = column.is_valid()
        elif pa.types.is_null(column.type):
            return np.zeros(len(column), dtype=bool)
        elif one.op in TEXTUAL:
            found = TEXTUAL[one.op](column, one.value)
        else:
            found = COMPARE[one.op](column, value)
        return np.asarray(pc.fill_null(found, False).to_numpy(zero_copy_only=False), dtype=bool)


def _whole(text: str) -> bool:
    return text.strip().lstrip("+-").isdigit()


class Deduplicate(StepRunner):
    """deduplicate: which rows stay is found part by part, and noted as one bit per row."""

    passes = True

    def prepare(self, source: Batches) -> None:
        names = self.chosen(source.schema, lambda kind: True, "any column", code="column_not_fit")
        for place, name in enumerate(names):
            kind = source.schema.field(name).type
            if pa.types.is_nested(kind):
                raise unfit(name, kind, self.at("columns", place), "plain values", code="column_not_fit")
        names = [name for name in names if not pa.types.is_null(source.schema.field(name).type)]
        parts = parted(source, names, [], self.around.folder)
        self.total = sum(part.rows or 0 for part in parts)
        self.stays = np.zeros((self.total + 7) // 8, dtype=np.uint8)
        for part in parts:
            for rows in self._staying(part, names):
                np.bitwise_or.at(self.stays, rows >> 3, (128 >> (rows & 7)).astype(np.uint8))

    def _staying(self, part: SpilledBatches, names: list[str], level: int = 0) -> Iterator[npt.NDArray[np.int64]]:
        """The numbers of the rows that stay of a part. Of each key one row is held; too many keys are parted again."""
        which = "min" if self.step.keep == "first" else "max"
        batches, seen, held = iter(part), 0, None
        while table := _next_rows(batches, part.schema):
            seen += table.num_rows
            joined = table if held is None else pa.concat_tables([held, table])
            grouped = joined.group_by(names, use_threads=False).aggregate([(ROW, which)])
            held = grouped.select([f"{ROW}_{which}", *names]).rename_columns(part.schema.names)
            if held.nbytes > KEYS_BYTES and seen < (part.rows or 0) and level < LEVELS:
                rest = rechunk(chain(held.to_batches(), batches), part.schema, BATCH_ROWS)
                again = divided(map(merge_into_batch, rest), part.schema, names, self.around.folder, level + 1)
                held = table = joined = grouped = None
                for each in again:
                    yield from self._staying(each, names, level + 1)
                return
        if held is not None:
            yield held.column(ROW).to_numpy()

    def apply(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        row = 0
        for batch in batches:
            first, last = row // 8, (row + batch.num_rows + 7) // 8
            bits = np.unpackbits(self.stays[first:last])[row - 8 * first :][: batch.num_rows].astype(bool)
            row += batch.num_rows
            yield batch if bits.all() else batch.filter(pa.array(bits))


def _next_rows(batches: Iterator[pa.RecordBatch], schema: pa.Schema) -> pa.Table | None:
    """The next rows, about READ_BYTES of them; None where there are no more."""
    taken, size = [], 0
    for batch in batches:
        taken.append(batch)
        size += batch.nbytes
        if size >= READ_BYTES:
            break
    return pa.Table.from_batches(taken, schema) if taken else None
