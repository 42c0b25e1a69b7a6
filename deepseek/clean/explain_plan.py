"""Preview what the steps of a plan would change in the first rows, step by step, cell by cell, row by row."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import zip_longest
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from deepseek.clean.execution import RUNNERS
from deepseek.clean.masks import find_masked_by_step
from deepseek.clean.origins import ROW_KINDS
from deepseek.clean.spec import CleanSpec
from deepseek.clean.steps.base import StepContext, StepRunner, is_number, is_text, list_visible_columns
from deepseek.clean.steps.casting import format_decimals
from deepseek.clean.steps.join import SLOT as JOIN_SLOT
from deepseek.clean.steps.masking import KEY_SLOT
from deepseek.job import JSON
from deepseek.partitions.rounds import run_rounds
from deepseek.quality.histograms import compare_histograms
from deepseek.quality.report import PREVIEW_CHARACTERS
from deepseek.tables.batches import TableBatches
from deepseek.tables.sample import TableSample, read_sample
from deepseek.tables.streams import ORIGIN_COLUMN, MappedBatches

SCHEMA = "plane/clean-sample/v1"
MAX_COLUMNS, MAX_CHARTS, MAX_CHANGES, MAX_DROPPED_ROWS = 200, 4, 60, 8  # at most
OTHER_KEY = "Pseudonyms are shown under a key of their own: those of the job will be others."
Mask = npt.NDArray[np.bool_]


def explain_plan(spec: CleanSpec, sample: TableSample, more: Mapping[str, Path], *, head: int) -> dict[str, JSON]:
    """What `run` would do to the sample, as JSON. Raises EngineError as `run` does, its field the step's."""
    begin = sample.table.append_column(ORIGIN_COLUMN, pa.array(np.arange(sample.table.num_rows)))
    steps = list(spec.steps or [])
    context = _build_context(spec, more, head)
    if any(step.kind == "mask" and step.how == "pseudonym" for step in steps) and KEY_SLOT not in more:
        context.warnings.append(OTHER_KEY)
    done: list[_StepPreview] = []
    table, masked = begin, find_masked_by_step(steps)
    for number, step in enumerate(steps):
        place = replace(context, pointer=f"/steps/{number}", masked=masked[number])
        runner = RUNNERS[step.kind](step, table.schema, place)
        run_rounds(runner.rounds(), TableBatches(table))
        after = pa.Table.from_batches(
            MappedBatches(TableBatches(table), runner.schema, runner), runner.schema
        ).combine_chunks()
        done.append(_StepPreview(number, runner, table, after))
        table = after
    return _build_document(sample, begin, table, done, context.warnings)


def _build_context(spec: CleanSpec, more: Mapping[str, Path], head: int) -> StepContext:
    second = more.get(JOIN_SLOT)
    key = more[KEY_SLOT].read_bytes()[:4096].rstrip(b"\r\n") if KEY_SLOT in more else os.urandom(32)
    if second is None:
        return StepContext(key=key)
    path = second
    return StepContext(key=key, second=lambda: TableBatches(read_sample(path, spec.csv, rows=10**7, head=head).table))


class _StepPreview:
    """One step applied to the sample, with the table before and after."""

    def __init__(self, number: int, runner: StepRunner, before: pa.Table, after: pa.Table) -> None:
        self.number, self.runner, self.before, self.after = number, runner, before, after
        self.kind: str = runner.step.kind
        names, new = list_visible_columns(before.schema), list_visible_columns(after.schema)
        self.added = [name for name in new if name not in names]
        self.dropped = [name for name in names if name not in new]
        self.why: dict[str, dict[str, Mask]] = {}
        if self.kind not in ROW_KINDS:
            self.why = {name: self._classify_changes(name) for name in names if name in new}
        self.cells = {name: sum(int(mask.sum()) for mask in why.values()) for name, why in self.why.items()}

    def _classify_changes(self, name: str) -> dict[str, Mask]:
        before, after = self.before.column(name), self.after.column(name)
        missing_before, missing_after = _find_missing(before), _find_missing(after)
        moved = _find_different(before, after) & ~missing_before & ~missing_after
        swap = "capped" if self.kind in ("outliers", "hampel") else "changed"
        return {"filled": missing_before & ~missing_after, swap: moved, "blanked": ~missing_before & missing_after}

    @property
    def gone(self) -> list[int]:
        """Rows of the sample, from 1, that this step drops."""
        if self.kind not in ROW_KINDS:
            return []
        left = np.isin(_get_origins(self.before), _get_origins(self.after), invert=True)
        return [int(row) + 1 for row in _get_origins(self.before)[left] if row >= 0]

    def as_dict(self) -> dict[str, JSON]:
        gone = self.gone
        rows_in, rows_out = self.before.num_rows, self.after.num_rows
        report: dict[str, JSON] = {
            "step": self.kind,
            "number": self.number + 1,
            "cells": sum(self.cells.values()),
            "columns": {name: cells for name, cells in self.cells.items() if cells},
            "found": sum(self.runner.found.values()) if self.kind in ("outliers", "hampel") else None,
            "rows_before": rows_in,
            "rows_after": rows_out,
            "rows_dropped": len(gone),
            "rows_added": rows_out - rows_in + len(gone),
            "dropped_rows": list(gone[:MAX_DROPPED_ROWS]),
            "columns_added": list(self.added),
            "columns_dropped": list(self.dropped),
        }
        return report

    def iter_changes(self, most: int) -> Iterator[dict[str, JSON]]:
        """The first changed cells, in turns of the columns; rows count from 1 in the file, none for inserted ones."""
        return (
            change
            for turn in zip_longest(*map(self._iter_column_changes, self.cells))
            for change in turn[:most]
            if change
        )

    def _iter_column_changes(self, name: str) -> Iterator[dict[str, JSON]]:
        why = self.why[name]
        origins = _get_origins(self.after)
        for row in np.flatnonzero(np.logical_or.reduce(list(why.values())))[:MAX_CHANGES].tolist():
            yield {
                "row": int(origins[row]) + 1 if origins[row] >= 0 else None,
                "step": self.number + 1,
                "column": name,
                "before": _format_cell(self.before.column(name)[row].as_py()),
                "after": _format_cell(self.after.column(name)[row].as_py()),
                "why": next(reason for reason, mask in why.items() if mask[row]),
            }


def _build_document(
    sample: TableSample, begin: pa.Table, end: pa.Table, done: Sequence[_StepPreview], warnings: Sequence[str]
) -> dict[str, JSON]:
    columns = _describe_columns(begin, end, done)
    steps = [change.as_dict() for change in done]
    stays = np.isin(_get_origins(begin), _get_origins(end))
    turns = zip_longest(*(change.iter_changes(MAX_CHANGES) for change in done))
    changes = [change for turn in turns for change in turn if change is not None][:MAX_CHANGES]
    return {
        "schema": SCHEMA,
        "rows": begin.num_rows,
        "of_rows": sample.rows,
        "whole": sample.is_complete,
        "rows_after": end.num_rows,
        "rows_dropped": int((~stays).sum()),
        "rows_added": sum(cast(int, step["rows_added"]) for step in steps),
        "columns_added": [name for name in list_visible_columns(end.schema) if name not in begin.column_names],
        "columns_dropped": [name for name in list_visible_columns(begin.schema) if name not in end.column_names],
        "steps": cast("list[JSON]", steps),
        "columns": cast("list[JSON]", columns[:MAX_COLUMNS]),
        "changes": cast("list[JSON]", sorted(changes, key=lambda change: (change["step"], change["row"] or 0))),
        "changed": sum(sum(change.cells.values()) for change in done),
        "warnings": list(warnings),
    }


def _describe_columns(begin: pa.Table, end: pa.Table, done: Sequence[_StepPreview]) -> list[dict[str, JSON]]:
    """The columns that are there from the first row to the last step, those with most changes first."""
    columns = []
    for name in list_visible_columns(begin.schema):
        if name not in end.column_names:
            continue
        before, after = begin.column(name), end.column(name)
        column: dict[str, JSON] = {
            "name": name,
            "dtype": str(before.type),
            "dtype_after": str(after.type),
            "missing": before.null_count,
            "missing_after": after.null_count,
            "outliers": sum(preview.runner.found.get(name, 0) for preview in done),
            "lower": None,
            "upper": None,
            "changed": sum(preview.cells.get(name, 0) for preview in done),
            "histogram": None,
        }
        for why in ("filled", "capped", "blanked", "changed"):
            masks = (preview.why.get(name, {}).get(why) for preview in done)
            column["cells_" + why if why == "changed" else why] = sum(int(m.sum()) for m in masks if m is not None)
        columns.append(column)
    columns.sort(key=lambda column: -cast(int, column["changed"]))
    charted = [column for column in columns if column["changed"] or begin.num_rows != end.num_rows][:MAX_CHARTS]
    for column in charted:
        before, after = begin.column(str(column["name"])), end.column(str(column["name"]))
        if is_number(before.type) and is_number(after.type):
            column["histogram"] = compare_histograms(before.combine_chunks(), after.combine_chunks())
    return columns


def _get_origins(table: pa.Table) -> npt.NDArray[np.int64]:
    return np.asarray(pc.fill_null(table.column(ORIGIN_COLUMN), -1).to_numpy())


def _find_missing(column: pa.ChunkedArray) -> Mask:
    return np.asarray(column.is_null().to_numpy(), dtype=bool)


def _find_different(before: pa.ChunkedArray, after: pa.ChunkedArray) -> Mask:
    """Where two values differ; of different types, where they are written differently or are different numbers."""
    if pa.types.is_floating(before.type) and is_text(after.type):  # a step may write them in either way
        digits = pa.chunked_array([format_decimals(chunk) for chunk in before.chunks], pa.string())
        return _find_different(before.cast(pa.string()), after) & _find_different(digits, after)
    if before.type != after.type:
        kind = pa.float64() if is_number(before.type) and is_number(after.type) else pa.string()
        before, after = before.cast(kind, safe=False), after.cast(kind, safe=False)
    return np.asarray(pc.fill_null(pc.not_equal(before, after), False).to_numpy(), dtype=bool)


def _format_cell(value: Any) -> str | None:
    return None if value is None else str(value)[:PREVIEW_CHARACTERS]


def format_plan_lines(report: Mapping[str, Any]) -> Iterator[str]:
    """What is particular to a plan, for a person at a terminal."""
    for step in report["steps"]:
        parts = [f"{step['found']:,} found"] if step["found"] is not None else []
        parts += [f"{step['cells']:,} cells change"] if step["cells"] else []
        parts += [f"{step['rows_dropped']:,} rows dropped"] if step["rows_dropped"] else []
        parts += [f"{step['rows_added']:,} rows added"] if step["rows_added"] > 0 else []
        parts += [f"columns added: {', '.join(step['columns_added'])}"] if step["columns_added"] else []
        parts += [f"columns dropped: {', '.join(step['columns_dropped'])}"] if step["columns_dropped"] else []
        rows = f"{step['rows_before']:,} -> {step['rows_after']:,} rows"
        yield f"{step['number']}. {step['step']}: {'; '.join(parts) or 'nothing changes'} ({rows})"
    for change in report["changes"][:20]:
        before, after = (change[end] if change[end] is not None else "missing" for end in ("before", "after"))
        row = f"row {change['row']}" if change["row"] else "inserted row"
        yield f"  step {change['step']}, {row}, {change['column']}: {before} -> {after} ({change['why']})"
    yield f"rows: {report['rows']:,} -> {report['rows_after']:,}"
    yield from report["warnings"]
