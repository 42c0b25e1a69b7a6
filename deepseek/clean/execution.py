"""Execute a plan step by step over tables that may exceed memory; docs/adr/0012 says how and why."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from deepseek.clean.masks import find_masked_by_step
from deepseek.clean.origins import ROW_KINDS, OriginRuns
from deepseek.clean.steps import gaps, groups, join, masking, numbers, rows, series, shape, simple, texts
from deepseek.clean.steps.base import StepContext, SteppedBatches, StepRunner
from deepseek.partitions.rounds import run_rounds
from deepseek.tables.batches import Batches
from deepseek.tables.files import PARQUET_OPTIONS, ROW_GROUP_ROWS, choose_dictionaries
from deepseek.tables.streams import (
    ORIGIN_COLUMN,
    MappedBatches,
    rechunk,
    select_columns,
    select_from_batches,
    spill_batches,
)

RUNNERS: dict[str, type[StepRunner]] = {
    "simple": simple.SimplePlanStep,
    "fill_median": numbers.FillMedianStep,
    "fill_forward": gaps.FillForwardStep,
    "fill_backward": gaps.FillBackwardStep,
    "fill_linear": gaps.FillLinearStep,
    "fill_constant": gaps.FillConstantStep,
    "fill_group": groups.FillGroupStep,
    "drop_missing": gaps.DropMissingStep,
    "outliers": numbers.OutliersStep,
    "hampel": numbers.HampelStep,
    "cast": shape.CastStep,
    "convert": numbers.ConvertStep,
    "deduplicate": rows.DeduplicateStep,
    "filter": rows.FilterStep,
    "regularise": series.RegulariseStep,
    "join": join.JoinStep,
    "rename": shape.RenameStep,
    "keep": shape.KeepStep,
    "drop": shape.DropStep,
    "derive": shape.DeriveStep,
    "normalise_text": texts.NormaliseTextStep,
    "replace_text": texts.ReplaceTextStep,
    "mask": masking.MaskStep,
}
"""The runner of each kind of step."""


@dataclass
class Execution:
    """A plan on a table: `batches` gives the result, computed anew at each reading."""

    batches: Batches
    runners: list[StepRunner]
    warnings: list[str] = field(default_factory=list)

    @property
    def moves_rows(self) -> bool:
        """Whether a row may stand at another place than in the input."""
        return ORIGIN_COLUMN in self.batches.schema.names


def execute(steps: Sequence[Any], source: Batches, context: StepContext, *, at: str = "/steps") -> Execution:
    """Prepare every step in turn; rows flow only as far as a later step must know the whole column.

    Steps that only change batches are put one behind the other. Before one that reads its source several times, what
    came before is kept, if to compute it again would cost more.
    """
    current = add_origin_column(source) if any(step.kind in ROW_KINDS for step in steps) else source
    runners: list[StepRunner] = []
    costly, masked = False, find_masked_by_step(steps)
    for number, step in enumerate(steps):
        kind = RUNNERS[step.kind]
        if costly and kind.passes:
            current, costly = spill_batches(current, context.folder), False
        place = replace(context, pointer=f"{at}/{number}", masked=masked[number])
        runner = kind(step, current.schema, place)
        run_rounds(runner.rounds(), current)
        runners.append(runner)
        context.warnings = place.warnings
        current = SteppedBatches(current, runner)
        costly = costly or kind.heavy or kind.passes
    return Execution(current, runners, context.warnings)


def add_origin_column(source: Batches) -> Batches:
    """Add the hidden column of row numbers."""
    return NumberedBatches(source)


class NumberedBatches(MappedBatches):
    """Batches with the hidden column of row numbers, from `first` on."""

    def __init__(self, source: Batches, first: int = 0) -> None:
        self._first = first
        schema = source.schema.append(pa.field(ORIGIN_COLUMN, pa.int64()))
        super().__init__(source, schema, self._number, source.rows)

    def _number(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        row = self._first
        for batch in batches:
            rows = pa.array(np.arange(row, row + batch.num_rows))
            row += batch.num_rows
            yield pa.RecordBatch.from_arrays([*batch.columns, rows], schema=self.schema)

    def select_columns(self, names: Sequence[str]) -> Batches:
        own = [name for name in self.schema.names if name in names and name != ORIGIN_COLUMN]
        if not own:  # batches without a column would not tell their rows
            return select_from_batches(self, names)
        return (
            select_columns(self.source, names)
            if ORIGIN_COLUMN not in names
            else select_from_batches(NumberedBatches(select_columns(self.source, own), self._first), names)
        )


@dataclass(frozen=True)
class WrittenTable:
    """What was written: rows, missing values by column, and where rows come from (None: each from its own place)."""

    rows: int
    missing: dict[str, int]
    runs: OriginRuns | None


def write_parquet(result: Batches, path: Path, advance: Callable[[int], None] = lambda rows: None) -> WrittenTable:
    """Write the result as Parquet, the same bytes as `write_table` would."""
    hidden = ORIGIN_COLUMN in result.schema.names
    names = [name for name in result.schema.names if name != ORIGIN_COLUMN]
    schema = pa.schema([result.schema.field(name) for name in names])
    runs = OriginRuns() if hidden else None
    count, missing = 0, dict.fromkeys(names, 0)
    groups = iter(rechunk(result, result.schema, ROW_GROUP_ROWS))
    head = next(groups, result.schema.empty_table())
    options = {"use_dictionary": choose_dictionaries(head.select(names)), **PARQUET_OPTIONS}
    # One thread compresses a row group while this one computes the next.
    with pq.ParquetWriter(path, schema, **options) as writer, ThreadPoolExecutor(1) as pool:
        writing: Future[None] | None = None
        for table in chain([head] if head.num_rows else [], groups):
            if runs is not None:
                runs.add(table.column(ORIGIN_COLUMN).combine_chunks())
            for name in names:
                missing[name] += table.column(name).null_count
            count += table.num_rows
            if writing is not None:
                writing.result()
            writing = pool.submit(writer.write_table, table.select(names), row_group_size=ROW_GROUP_ROWS)
            advance(count)
        if writing is not None:
            writing.result()
    return WrittenTable(count, missing, runs)


def build_step_reports(runners: Sequence[StepRunner]) -> list[Mapping[str, Any]]:
    """Build a report of each step's changes, as counted by the latest reading."""
    return [
        {
            "kind": runner.step.kind,
            "cells": sum(runner.cells.values()),
            "columns": {name: cells for name, cells in runner.cells.items() if cells},
            "rows_in": runner.rows_in,
            "rows_out": runner.rows_out,
        }
        for runner in runners
    ]
