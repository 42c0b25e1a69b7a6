"""fill_group: gaps filled from the rows of the same group, group after group, each part of the rows in memory alone."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

from deepseek.clean.order_statistics import Read, Sum, count_finite, median
from deepseek.clean.steps.base import unfit
from deepseek.clean.steps.numbers import Context, New, Numbers, floats_of
from deepseek.clean.steps.partitions import ROW, parted
from deepseek.tables.batches import Batches
from deepseek.tables.streams import SpilledBatches

Rows = npt.NDArray[np.int64]
PART_ROWS = 4_000_000
"""A part with more rows holds a large group: then its rows are read group by group."""


class FillGroup(Numbers):
    """fill_group: the rows to fill and their values are found part by part, and kept until their batch comes."""

    passes = True

    def columns(self, schema: pa.Schema) -> list[str]:
        for place, name in enumerate(self.step.by):
            kind = self.need(schema, name, "by", place)
            if pa.types.is_nested(kind):
                raise unfit(name, kind, self.at("by", place), "plain values", code="column_not_fit")
        names = super().columns(schema)
        return names if self.step.columns is not None else [name for name in names if name not in self.step.by]

    def look(self, source: Batches) -> None:
        found: dict[str, list[tuple[Rows, npt.NDArray[np.float64]]]] = {name: [] for name in self.names}
        by = [name for name in self.step.by if not pa.types.is_null(source.schema.field(name).type)]
        for part in parted(source, by, self.names, self.around.folder):
            if part.rows:
                for name, fill in self._of_part(part, by).items():
                    found[name].append(fill)
        self.fills = {}
        for name, parts in found.items():
            rows = np.concatenate([rows for rows, _ in parts]) if parts else np.zeros(0, dtype=np.int64)
            values = np.concatenate([values for _, values in parts]) if parts else np.zeros(0)
            order = np.argsort(rows)
            self.fills[name] = (rows[order], values[order])

    def _of_part(self, part: SpilledBatches, by: list[str]) -> dict[str, tuple[Rows, npt.NDArray[np.float64]]]:
        if (part.rows or 0) > PART_ROWS:
            return self._of_large_part(part, by)
        table = pa.Table.from_batches(part, part.schema)
        groups = codes_of(table, by)
        rows = table.column(ROW).to_numpy()
        told = {}
        for name in self.names:
            values = floats_of(table.column(name).combine_chunks()).astype(np.float64, copy=False)
            gaps = np.isnan(values)
            grouped = pd.Series(values).groupby(groups, sort=False)
            filled = grouped.transform(self.step.statistic).to_numpy()
            fills = gaps & ~np.isnan(filled)
            told[name] = (rows[fills], filled[fills])
        return told

    def _of_large_part(self, part: SpilledBatches, by: list[str]) -> dict[str, tuple[Rows, npt.NDArray[np.float64]]]:
        """The same for a part that does not fit: each of its groups is read by itself, as often as its median takes."""
        keys = pa.Table.from_batches(part.select_columns(by), part.select_columns(by).schema)
        codes = codes_of(keys, by)
        told = {}
        for name in self.names:

            def read(code: int, name: str = name) -> Iterator[npt.NDArray[np.float64]]:
                start = 0
                for batch in part.select_columns([name]):
                    values = floats_of(batch.column(0)).astype(np.float64, copy=False)
                    yield values[codes[start : start + values.size] == code]
                    start += values.size

            values = np.concatenate(
                [floats_of(batch.column(0)).astype(np.float64) for batch in part.select_columns([name])]
            )
            rows = np.concatenate([batch.column(0).to_numpy() for batch in part.select_columns([ROW])])
            gaps = np.flatnonzero(np.isnan(values))
            del values
            filled = np.full(gaps.size, np.nan)
            for code in np.unique(codes[gaps]):
                filled[codes[gaps] == code] = self._statistic(partial(read, int(code)))
            fills = ~np.isnan(filled)
            told[name] = (rows[gaps[fills]], filled[fills])
        return told

    def _statistic(self, read: Read) -> float:
        count = count_finite(read)
        if not count:
            return float("nan")
        if self.step.statistic == "median":
            return median(read, count)
        total = Sum()
        for values in read():
            total.add(values[np.isfinite(values)])
        return total.total() / count

    def new(self, name: str, context: Context, first: int) -> New:
        own = context.own
        rows, values = self.fills[name]
        start, end = np.searchsorted(rows, (first, first + own.size))
        changed = np.zeros(own.size, dtype=bool)
        if end > start:
            own = own.copy()
            here = rows[start:end] - first
            own[here] = values[start:end].astype(own.dtype)
            changed[here] = True
        return New(own, changed)


def codes_of(table: pa.Table, by: list[str]) -> npt.NDArray[np.int64]:
    """A number per row, equal where the keys are equal; a missing key is one like others."""
    codes = np.zeros(table.num_rows, dtype=np.int64)
    for name in by:
        encoded = table.column(name).combine_chunks().dictionary_encode(null_encoding="encode")
        places = encoded.indices.to_numpy(zero_copy_only=False).astype(np.int64)
        _, codes = np.unique(codes * (len(encoded.dictionary) + 1) + places, return_inverse=True)
    return codes
