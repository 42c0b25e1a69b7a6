"""fill_group: gaps filled from the rows of the same group, group after group, each part of the rows in memory alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from deepseek.clean.order_statistics import ReadValues, compute_mean, compute_median, count_finite
from deepseek.clean.steps.base import build_unfit_error
from deepseek.clean.steps.numbers import NewValues, NumericStep, WindowContext, convert_to_floats
from deepseek.clean.steps.partitions import (
    PARTS,
    ROW,
    ROW_BITS,
    Arrays,
    Buckets,
    open_bucket,
    read_results,
    shuffle_rows,
    split_by_partition,
    store_results,
)
from deepseek.partitions.rounds import Round, Rounds
from deepseek.tables.batches import Batches
from deepseek.tables.streams import select_columns

Rows = npt.NDArray[np.int64]
PART_ROWS = 4_000_000
"""A part with more rows holds a large group: then its rows are read group by group."""


class FillGroupStep(NumericStep):
    """fill_group: the rows to fill and their values are found part by part, and kept until their batch comes."""

    passes = True

    def get_target_columns(self, schema: pa.Schema) -> list[str]:
        for place, name in enumerate(self.step.by):
            kind = self.require_column(schema, name, "by", place)
            if pa.types.is_nested(kind):
                raise build_unfit_error(
                    name, kind, self.get_pointer("by", place), "plain values", code="column_not_fit"
                )
        names = super().get_target_columns(schema)
        return names if self.step.columns is not None else [name for name in names if name not in self.step.by]

    def value_rounds(self) -> Rounds[None]:
        by = [name for name in self.step.by if not pa.types.is_null(self.source_schema.field(name).type)]
        yield Round(
            lambda source: shuffle_rows(source, by, self.names, self.context.folder, self.place),
            lambda states, reduced: (reduced, [None] * len(states)),
            self._accept_fills,
            lambda bucket, states: self._fill_bucket(bucket, states, by),
            PARTS,
        )

    def _fill_bucket(self, bucket: int, states: Sequence[Buckets], by: list[str]) -> Arrays | Path:
        part = open_bucket(bucket, states)
        arrays: Arrays = {}
        if part.rows:
            for place, (rows, values) in enumerate(self._fill_part(part, by).values()):
                order = np.argsort(rows)
                rows, values = rows[order], values[order]
                for partition, span in split_by_partition(rows):
                    arrays[f"rows-{place}-{partition}"] = rows[span] & (2**ROW_BITS - 1)
                    arrays[f"values-{place}-{partition}"] = values[span]
        return store_results(arrays, self.context.folder, self.place)

    def _accept_fills(self, shared: Sequence[Arrays | Path], _: None) -> None:
        self.fills = {}
        for place, name in enumerate(self.names):
            key = f"{place}-{self.place.partition}"
            rows = np.concatenate([np.zeros(0, dtype=np.int64), *read_results(shared, f"rows-{key}")])
            values = np.concatenate([np.zeros(0), *read_results(shared, f"values-{key}")])
            order = np.argsort(rows)
            self.fills[name] = (rows[order], values[order])

    def _fill_part(self, part: Batches, by: list[str]) -> dict[str, tuple[Rows, npt.NDArray[np.float64]]]:
        import pandas as pd  # half of a process's start

        if (part.rows or 0) > PART_ROWS:
            return self._fill_large_part(part, by)
        table = pa.Table.from_batches(part, part.schema)
        groups = encode_keys(table, by)
        rows = table.column(ROW).to_numpy()
        fills_by_name = {}
        for name in self.names:
            values = convert_to_floats(table.column(name).combine_chunks()).astype(np.float64, copy=False)
            gaps = np.isnan(values)
            grouped = pd.Series(values).groupby(groups, sort=False)
            filled = grouped.transform(self.step.statistic).to_numpy()
            fills = gaps & ~np.isnan(filled)
            fills_by_name[name] = (rows[fills], filled[fills])
        return fills_by_name

    def _fill_large_part(self, part: Batches, by: list[str]) -> dict[str, tuple[Rows, npt.NDArray[np.float64]]]:
        """The same for a part that does not fit: each of its groups is read by itself, as often as its median takes."""
        keys = pa.Table.from_batches(select_columns(part, by), select_columns(part, by).schema)
        codes = encode_keys(keys, by)
        fills_by_name = {}
        for name in self.names:

            def read(code: int, name: str = name) -> Iterator[npt.NDArray[np.float64]]:
                start = 0
                for batch in select_columns(part, [name]):
                    values = convert_to_floats(batch.column(0)).astype(np.float64, copy=False)
                    yield values[codes[start : start + values.size] == code]
                    start += values.size

            values = np.concatenate(
                [convert_to_floats(batch.column(0)).astype(np.float64) for batch in select_columns(part, [name])]
            )
            rows = np.concatenate([batch.column(0).to_numpy() for batch in select_columns(part, [ROW])])
            gaps = np.flatnonzero(np.isnan(values))
            del values
            filled = np.full(gaps.size, np.nan)
            for code in np.unique(codes[gaps]):
                filled[codes[gaps] == code] = self._compute_statistic(partial(read, int(code)))
            fills = ~np.isnan(filled)
            fills_by_name[name] = (rows[gaps[fills]], filled[fills])
        return fills_by_name

    def _compute_statistic(self, read: ReadValues) -> float:
        count = count_finite(read)
        if not count:
            return float("nan")
        if self.step.statistic == "median":
            return compute_median(read, count)
        return compute_mean(read, count)

    def compute_values(self, name: str, context: WindowContext, first: int) -> NewValues:
        own = context.own
        rows, values = self.fills[name]
        start, end = np.searchsorted(rows, (first, first + own.size))
        changed = np.zeros(own.size, dtype=bool)
        if end > start:
            own = own.copy()
            positions = rows[start:end] - first
            own[positions] = values[start:end].astype(own.dtype)
            changed[positions] = True
        return NewValues(own, changed)


def encode_keys(table: pa.Table, by: list[str]) -> npt.NDArray[np.int64]:
    """A number per row, equal where the keys are equal; a missing key is one like others."""
    codes = np.zeros(table.num_rows, dtype=np.int64)
    for name in by:
        encoded = table.column(name).combine_chunks().dictionary_encode(null_encoding="encode")
        places = encoded.indices.to_numpy(zero_copy_only=False).astype(np.int64)
        _, codes = np.unique(codes * (len(encoded.dictionary) + 1) + places, return_inverse=True)
    return codes
