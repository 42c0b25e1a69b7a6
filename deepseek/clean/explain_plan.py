"""What the steps of a plan would change, told on the first rows: step after step, cell by cell, row by row."""

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
from deepseek.clean.masks import masked_at
from deepseek.clean.origins import ROW_KINDS
from deepseek.clean.spec import CleanSpec
from deepseek.clean.steps.base import StepContext, StepRunner, is_number, is_text, visible
from deepseek.clean.steps.casting import decimal_texts
from deepseek.clean.steps.join import SLOT as JOIN_SLOT
from deepseek.clean.steps.masking import KEY_SLOT
from deepseek.job import JSON
from deepseek.quality.histograms import compare_histograms
from deepseek.quality.report import PREVIEW_CHARACTERS
from deepseek.tables.batches import TableBatches
from deepseek.tables.sample import TableSample, read_sample
from deepseek.tables.streams import ORIGIN_COLUMN, MappedBatches

SCHEMA = "plane/clean-sample/v1"
COLUMNS_TOLD, CHARTS, CHANGES, GONE = 200, 4, 60, 8  # at most
OTHER_KEY = "Pseudonyms are shown under a key of their own: those of the job will be others."
Mask = npt.NDArray[np.bool_]


def explain_plan(spec: CleanSpec, sample: TableSample, more: Mapping[str, Path], *, head: int) -> dict[str, JSON]:
    """What `run` would do to the sample, as JSON. Raises EngineError as `run` does, its field the step's."""
    begin = sample.table.append_column(ORIGIN_COLUMN, pa.array(np.arange(sample.table.num_rows)))
    steps = list(spec.steps or [])
    around = _around(spec, more, head)
    if any(step.kind == "mask" and step.how == "pseudonym" for step in steps) and KEY_SLOT not in more:
        around.warnings.append(OTHER_KEY)
    done: list[_Done] = []
    table, masked = begin, masked_at(steps)
    for number, step in enumerate(steps):
        place = replace(around, pointer=f"/steps/{number}", masked=masked[number])
        runner = RUNNERS[step.kind](step, TableBatches(table), place)
        after = pa.Table.from_batches(
            MappedBatches(TableBatches(table), runner.schema, runner), runner.schema
        ).combine_chunks()
        done.append(_Done(number, runner, table, after))
        table = after
    return _document(sample, begin, table, done, around.warnings)


def _around(spec: CleanSpec, more: Mapping[str, Path], head: int) -> StepContext:
    second = more.get(JOIN_SLOT)
    key = more[KEY_SLOT].read_bytes()[:4096].rstrip(b"\r\n") if KEY_SLOT in more else os.urandom(32)
    if second is None:
        return StepContext(key=key)
    path = second
    return StepContext(key=key, second=lambda: TableBatches(read_sample(path, spec.csv, rows=10**7, head=head).table))


class _Done:
    """One step that was done to the sample: what it was like before, and after."""

    def __init__(self, number: int, runner: StepRunner, before: pa.Table, after: pa.Table) -> None:
        self.number, self.runner, self.before, self.after = number, runner, before, after
        self.kind: str = runner.step.kind
        names, new = visible(before.schema), visible(after.schema)
        self.added = [name for name in new if name not in names]
        self.dropped = [name for name in names if name not in new]
        self.why: dict[str, dict[str, Mask]] = {}
        if self.kind not in ROW_KINDS:
            self.why = {name: self._why(name) for name in names if name in new}
        self.cells = {name: sum(int(mask.sum()) for mask in why.values()) for name, why in self.why.items()}

    def _why(self, name: str) -> dict[str, Mask]:
        before, after = self.before.column(name), self.after.column(name)
        was, now = _missing(before), _missing(after)
        moved = _differ(before, after) & ~was & ~now
        swap = "capped" if self.kind in ("outliers", "hampel") else "changed"
        return {"filled": was & ~now, swap: moved, "blanked": ~was & now}

    @property
    def gone(self) -> list[int]:
        """Rows of the sample, from 1, that this step drops."""
        if self.kind not in ROW_KINDS:
            return []
        left = np.isin(_origins(self.before), _origins(self.after), invert=True)
        return [int(row) + 1 for row in _origins(self.before)[left] if row >= 0]

    def as_dict(self) -> dict[str, JSON]:
        gone = self.gone
        rows_in, rows_out = self.before.num_rows, self.after.num_rows
        told: dict[str, JSON] = {
            "step": self.kind,
            "number": self.number + 1,
            "cells": sum(self.cells.values()),
            "columns": {name: cells for name, cells in self.cells.items() if cells},
            "found": sum(self.runner.found.values()) if self.kind in ("outliers", "hampel") else None,
            "rows_before": rows_in,
            "rows_after": rows_out,
            "rows_dropped": len(gone),
            "rows_added": rows_out - rows_in + len(gone),
            "dropped_rows": list(gone[:GONE]),
            "columns_added": list(self.added),
            "columns_dropped": list(self.dropped),
        }
        return told

    def changes(self, most: int) -> Iterator[dict[str, JSON]]:
        """The first changed cells, in turns of the columns; rows count from 1 in the file, none for inserted ones."""
        return (change for turn in zip_longest(*map(self._of_column, self.cells)) for change in turn[:most] if change)

    def _of_column(self, name: str) -> Iterator[dict[str, JSON]]:
        why = self.why[name]
        origins = _origins(self.after)
        for row in np.flatnonzero(np.logical_or.reduce(list(why.values())))[:CHANGES].tolist():
            yield {
                "row": int(origins[row]) + 1 if origins[row] >= 0 else None,
                "step": self.number + 1,
                "column": name,
                "before": _text(self.before.column(name)[row].as_py()),
                "after": _text(self.after.column(name)[row].as_py()),
                "why": next(reason for reason, mask in why.items() if mask[row]),
            }


def _document(
    sample: TableSample, begin: pa.Table, end: pa.Table, done: Sequence[_Done], warnings: Sequence[str]
) -> dict[str, JSON]:
    columns = _columns(begin, end, done)
    steps = [one.as_dict() for one in done]
    kept = np.isin(_origins(begin), _origins(end))
    turns = zip_longest(*(one.changes(CHANGES) for one in done))
    changes = [change for turn in turns for change in turn if change is not None][:CHANGES]
    return {
        "schema": SCHEMA,
        "rows": begin.num_rows,
        "of_rows": sample.rows,
        "whole": sample.is_complete,
        "rows_after": end.num_rows,
        "rows_dropped": int((~kept).sum()),
        "rows_added": sum(cast(int, step["rows_added"]) for step in steps),
        "columns_added": [name for name in visible(end.schema) if name not in begin.column_names],
        "columns_dropped": [name for name in visible(begin.schema) if name not in end.column_names],
        "steps": cast("list[JSON]", steps),
        "columns": cast("list[JSON]", columns[:COLUMNS_TOLD]),
        "changes": cast("list[JSON]", sorted(changes, key=lambda one: (one["step"], one["row"] or 0))),
        "changed": sum(sum(one.cells.values()) for one in done),
        "warnings": list(warnings),
    }


def _columns(begin: pa.Table, end: pa.Table, done: Sequence[_Done]) -> list[dict[str, JSON]]:
    """The columns that are there from the first row to the last step, those with most changes first."""
    told = []
    for name in visible(begin.schema):
        if name not in end.column_names:
            continue
        before, after = begin.column(name), end.column(name)
        one: dict[str, JSON] = {
            "name": name,
            "dtype": str(before.type),
            "dtype_after": str(after.type),
            "missing": before.null_count,
            "missing_after": after.null_count,
            "outliers": sum(each.runner.found.get(name, 0) for each in done),
            "lower": None,
            "upper": None,
            "changed": sum(each.cells.get(name, 0) for each in done),
            "histogram": None,
        }
        for why in ("filled", "capped", "blanked", "changed"):
            found = (each.why.get(name, {}).get(why) for each in done)
            one["cells_" + why if why == "changed" else why] = sum(int(m.sum()) for m in found if m is not None)
        told.append(one)
    told.sort(key=lambda one: -cast(int, one["changed"]))
    drawn = [one for one in told if one["changed"] or begin.num_rows != end.num_rows][:CHARTS]
    for one in drawn:
        before, after = begin.column(str(one["name"])), end.column(str(one["name"]))
        if is_number(before.type) and is_number(after.type):
            one["histogram"] = compare_histograms(before.combine_chunks(), after.combine_chunks())
    return told


def _origins(table: pa.Table) -> npt.NDArray[np.int64]:
    return np.asarray(pc.fill_null(table.column(ORIGIN_COLUMN), -1).to_numpy())


def _missing(column: pa.ChunkedArray) -> Mask:
    return np.asarray(column.is_null().to_numpy(), dtype=bool)


def _differ(before: pa.ChunkedArray, after: pa.ChunkedArray) -> Mask:
    """Where two values differ; of different types, where they are written differently or are different numbers."""
    if pa.types.is_floating(before.type) and is_text(after.type):  # a step may write them in either way
        digits = pa.chunked_array([decimal_texts(chunk) for chunk in before.chunks], pa.string())
        return _differ(before.cast(pa.string()), after) & _differ(digits, after)
    if before.type != after.type:
        kind = pa.float64() if is_number(before.type) and is_number(after.type) else pa.string()
        before, after = before.cast(kind, safe=False), after.cast(kind, safe=False)
    return np.asarray(pc.fill_null(pc.not_equal(before, after), False).to_numpy(), dtype=bool)


def _text(value: Any) -> str | None:
    return None if value is None else str(value)[:PREVIEW_CHARACTERS]


def lines_of(told: Mapping[str, Any]) -> Iterator[str]:
    """What is particular to a plan, for a person at a terminal."""
    for step in told["steps"]:
        parts = [f"{step['found']:,} found"] if step["found"] is not None else []
        parts += [f"{step['cells']:,} cells change"] if step["cells"] else []
        parts += [f"{step['rows_dropped']:,} rows dropped"] if step["rows_dropped"] else []
        parts += [f"{step['rows_added']:,} rows added"] if step["rows_added"] > 0 else []
        parts += [f"columns added: {', '.join(step['columns_added'])}"] if step["columns_added"] else []
        parts += [f"columns dropped: {', '.join(step['columns_dropped'])}"] if step["columns_dropped"] else []
        rows = f"{step['rows_before']:,} -> {step['rows_after']:,} rows"
        yield f"{step['number']}. {step['step']}: {'; '.join(parts) or 'nothing changes'} ({rows})"
    for change in told["changes"][:20]:
        before, after = (change[end] if change[end] is not None else "missing" for end in ("before", "after"))
        row = f"row {change['row']}" if change["row"] else "inserted row"
        yield f"  step {change['step']}, {row}, {change['column']}: {before} -> {after} ({change['why']})"
    yield f"rows: {told['rows']:,} -> {told['rows_after']:,}"
    yield from told["warnings"]
