"""Steps that decide which rows stay: conditions, and duplicates."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from itertools import chain
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from deepseek.clean.steps.base import StepRunner, build_unfit_error, is_text
from deepseek.clean.steps.partitions import (
    PARTS,
    ROW,
    ROW_BITS,
    Arrays,
    Buckets,
    open_bucket,
    read_results,
    shuffle_rows,
    split_by_hash,
    split_by_partition,
    store_results,
)
from deepseek.clean.steps.values import parse_scalar
from deepseek.clean.steps_spec import Condition
from deepseek.partitions.rounds import Round, Rounds
from deepseek.tables.batches import Batches
from deepseek.tables.streams import BATCH_ROWS, merge_into_batch, rechunk

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
"""A part whose keys, each once, take more is split again, at most MAX_LEVELS times."""
MAX_LEVELS = 4


class FilterStep(StepRunner):
    """filter"""

    def bind(self, schema: pa.Schema) -> None:
        self.values: list[pa.Scalar | None] = []
        for place, condition in enumerate(self.step.conditions):
            kind = self.require_column(schema, condition.column, "conditions", place, "column")
            self.values.append(self._parse_value(condition, kind, place))

    def _parse_value(self, condition: Condition, kind: pa.DataType, place: int) -> pa.Scalar | None:
        if condition.op in TEXTUAL and not is_text(kind):
            raise build_unfit_error(
                condition.column,
                kind,
                self.get_pointer("conditions", place, "column"),
                "a text column",
                code="column_not_text",
            )
        if condition.op in TEXTUAL or condition.op in ("is_missing", "is_present") or pa.types.is_null(kind):
            return None
        wide = pa.float64() if pa.types.is_integer(kind) and not _is_whole_number(condition.value) else kind
        return parse_scalar(condition.value, wide, self.get_pointer("conditions", place, "value"), condition.column)

    def restrict_columns(self, names: Collection[str]) -> FilterStep:
        return self.copy_for_columns({*names, *(condition.column for condition in self.step.conditions)})

    def apply(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        join = np.logical_and if self.step.match == "all" else np.logical_or
        for batch in batches:
            holds = [
                self._evaluate_condition(condition, value, batch.column(condition.column))
                for condition, value in zip(self.step.conditions, self.values, strict=True)
            ]
            stay = join.reduce(holds)
            yield batch if stay.all() else batch.filter(pa.array(stay))

    def _evaluate_condition(
        self, condition: Condition, value: pa.Scalar | None, column: pa.Array
    ) -> npt.NDArray[np.bool_]:
        if condition.op == "is_missing":
            mask = column.is_null()
        elif condition.op == "is_present":
            mask = column.is_valid()
        elif pa.types.is_null(column.type):
            return np.zeros(len(column), dtype=bool)
        elif condition.op in TEXTUAL:
            mask = TEXTUAL[condition.op](column, condition.value)
        else:
            mask = COMPARE[condition.op](column, value)
        return np.asarray(pc.fill_null(mask, False).to_numpy(zero_copy_only=False), dtype=bool)


def _is_whole_number(text: str) -> bool:
    return text.strip().lstrip("+-").isdigit()


class DeduplicateStep(StepRunner):
    """deduplicate: which rows stay is found part by part, and noted as one bit per row."""

    scope = "global"
    passes = True

    def bind(self, schema: pa.Schema) -> None:
        names = self.choose_columns(schema, lambda kind: True, "any column", code="column_not_fit")
        for place, name in enumerate(names):
            kind = schema.field(name).type
            if pa.types.is_nested(kind):
                raise build_unfit_error(
                    name, kind, self.get_pointer("columns", place), "plain values", code="column_not_fit"
                )
        self.names = [name for name in names if not pa.types.is_null(schema.field(name).type)]

    def rounds(self) -> Rounds[None]:
        yield Round(
            lambda source: shuffle_rows(source, self.names, [], self.context.folder, self.place),
            lambda states, reduced: (reduced, [state.rows for state in states]),
            self._accept_staying_rows,
            self._find_staying_rows,
            PARTS,
        )

    def _find_staying_rows(self, bucket: int, states: Sequence[Buckets]) -> Arrays | Path:
        part = open_bucket(bucket, states)
        staying = list(self._iter_staying_rows(part, self.names)) if part.rows else []
        rows = np.sort(np.concatenate([np.zeros(0, dtype=np.int64), *staying]))
        arrays = {str(partition): rows[span] & (2**ROW_BITS - 1) for partition, span in split_by_partition(rows)}
        return store_results(arrays, self.context.folder, self.place)

    def _accept_staying_rows(self, shared: Sequence[Arrays | Path], rows: int) -> None:
        self.stays = np.zeros((rows + 7) // 8, dtype=np.uint8)
        for staying in read_results(shared, str(self.place.partition)):
            np.bitwise_or.at(self.stays, staying >> 3, (128 >> (staying & 7)).astype(np.uint8))

    def _iter_staying_rows(self, part: Batches, names: list[str], level: int = 0) -> Iterator[npt.NDArray[np.int64]]:
        """The numbers of the rows that stay of a part. Of each key one row is held; too many keys are parted again."""
        which = "min" if self.step.keep == "first" else "max"
        batches, rows_read, winners = iter(part), 0, None
        while table := _read_rows(batches, part.schema):
            rows_read += table.num_rows
            joined = table if winners is None else pa.concat_tables([winners, table])
            grouped = joined.group_by(names, use_threads=False).aggregate([(ROW, which)])
            winners = grouped.select([f"{ROW}_{which}", *names]).rename_columns(part.schema.names)
            if winners.nbytes > KEYS_BYTES and rows_read < (part.rows or 0) and level < MAX_LEVELS:
                rest = rechunk(chain(winners.to_batches(), batches), part.schema, BATCH_ROWS)
                parts = split_by_hash(map(merge_into_batch, rest), part.schema, names, self.context.folder, level + 1)
                winners = table = joined = grouped = None
                for smaller in parts:
                    yield from self._iter_staying_rows(smaller, names, level + 1)
                return
        if winners is not None:
            yield winners.column(ROW).to_numpy()

    def apply(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        row = 0
        for batch in batches:
            first, last = row // 8, (row + batch.num_rows + 7) // 8
            bits = np.unpackbits(self.stays[first:last])[row - 8 * first :][: batch.num_rows].astype(bool)
            row += batch.num_rows
            yield batch if bits.all() else batch.filter(pa.array(bits))


def _read_rows(batches: Iterator[pa.RecordBatch], schema: pa.Schema) -> pa.Table | None:
    """The next rows, about READ_BYTES of them; None where there are no more."""
    rows, size = [], 0
    for batch in batches:
        rows.append(batch)
        size += batch.nbytes
        if size >= READ_BYTES:
            break
    return pa.Table.from_batches(rows, schema) if rows else None
