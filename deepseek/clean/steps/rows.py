"""Steps that decide which rows stay: conditions, and duplicates."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from deepseek.clean.batches import Batches
from deepseek.clean.steps.base import Runner, is_text, unfit
from deepseek.clean.steps.partitions import ROW, parted
from deepseek.clean.steps.values import scalar_of
from deepseek.clean.steps_spec import Condition

COMPARE = {
    "eq": pc.equal,
    "ne": pc.not_equal,
    "lt": pc.less,
    "le": pc.less_equal,
    "gt": pc.greater,
    "ge": pc.greater_equal,
}
TEXTUAL = {"contains": pc.match_substring, "starts_with": pc.starts_with, "ends_with": pc.ends_with}


class Filter(Runner):
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


class Deduplicate(Runner):
    """deduplicate: which rows stay is found part by part, and noted as one bit per row."""

    passes = True

    def prepare(self, source: Batches) -> None:
        names = self.chosen(source.schema, lambda kind: True, "any column", code="column_not_fit")
        for place, name in enumerate(names):
            kind = source.schema.field(name).type
            if pa.types.is_nested(kind):
                raise unfit(name, kind, self.at("columns", place), "plain values", code="column_not_fit")
        names = [name for name in names if not pa.types.is_null(source.schema.field(name).type)]
        chosen: list[npt.NDArray[np.int64]] = []
        which = "min" if self.step.keep == "first" else "max"
        total = 0
        for part in parted(source, names, [], self.around.folder):
            total += part.rows or 0
            if part.rows:
                table = pa.Table.from_batches(part, part.schema)
                kept = (
                    table.group_by(names, use_threads=False).aggregate([(ROW, which)]) if names else table.slice(0, 1)
                )
                chosen.append(np.sort(kept.column(f"{ROW}_{which}" if names else ROW).to_numpy()))
        stays = np.zeros(total, dtype=bool)
        for rows in chosen:
            stays[rows] = True
        self.stays, self.total = np.packbits(stays), total

    def apply(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        row = 0
        for batch in batches:
            first, last = row // 8, (row + batch.num_rows + 7) // 8
            bits = np.unpackbits(self.stays[first:last])[row - 8 * first :][: batch.num_rows].astype(bool)
            row += batch.num_rows
            yield batch if bits.all() else batch.filter(pa.array(bits))
