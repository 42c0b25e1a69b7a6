"""Preview what cleaning would change in the first rows of a table, per step, column and cell. Writes nothing."""

from collections.abc import Iterator, Mapping
from itertools import zip_longest
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from deepseek.clean.column import CleanedColumn
from deepseek.clean.explain_plan import explain_plan, format_plan_lines
from deepseek.clean.run import FLAG_SUFFIX, choose_columns, clean_columns
from deepseek.clean.spec import CleanSpec
from deepseek.job import JSON, Silent
from deepseek.quality.histograms import compare_histograms
from deepseek.quality.outliers import Fences, compute_fences
from deepseek.quality.report import PREVIEW_CHARACTERS
from deepseek.tables.sample import read_sample
from deepseek.tables.sources import build_source

SCHEMA = "plane/clean-sample/v1"
ROWS, HEAD = 2000, 16 * 2**20
MAX_COLUMNS, MAX_CHARTS, MAX_CHANGES = 200, 4, 60  # at most

Mask = npt.NDArray[np.bool_]


def explain(
    spec: CleanSpec, path: Path, *, rows: int = ROWS, head: int = HEAD, more: Mapping[str, Path] | None = None
) -> dict[str, JSON]:
    """What `run` would do to the first `rows` rows of the file at `path`, of which `head` bytes are read, as JSON.

    Quartiles and medians are those of these rows: on the whole table the limits of outliers may lie elsewhere. Raises
    EngineError as `run` and `read_sample` do.
    """
    sample = read_sample(path, spec.csv, rows=rows, head=head)
    if spec.steps is not None:
        return explain_plan(spec, sample, more or {}, head=head)
    table = sample.table
    chosen, warnings = choose_columns(build_source(table), spec)
    cleaned, done, noted = clean_columns(table, chosen, spec, Silent())
    columns = [_ColumnPreview(name, table.column(name), column_done, spec) for name, column_done in done.items()]
    columns.sort(key=lambda column: -column.changed)
    charted = [column.name for column in columns if column.changed][:MAX_CHARTS]
    return {
        "schema": SCHEMA,
        "rows": table.num_rows,
        "of_rows": sample.rows,
        "whole": sample.is_complete,
        "rows_dropped": table.num_rows - cleaned.num_rows,
        "columns_added": [name for name in cleaned.column_names if name not in table.column_names],
        "steps": _describe_steps(spec, columns),
        "columns": [column.as_dict(charted=column.name in charted) for column in columns[:MAX_COLUMNS]],
        "changes": cast("list[JSON]", _collect_changes(columns)),
        "changed": sum(column.changed for column in columns),
        "warnings": cast("list[JSON]", [*warnings, *noted]),
    }


class _ColumnPreview:
    """One column before and after: which cells changed, and why."""

    def __init__(self, name: str, column: pa.ChunkedArray, cleaned: CleanedColumn, spec: CleanSpec) -> None:
        self.name, self.cleaned, self.spec = name, cleaned, spec
        self.before: pa.Array = column.combine_chunks()
        self.after = cleaned.values
        missing_before, missing_after = _find_missing(self.before), _find_missing(self.after)
        moved = _find_different(self.before, self.after) & ~missing_before & ~missing_after
        swap = "replaced" if spec.outliers.action == "blank" else "capped"
        self.why: dict[str, Mask] = {
            "filled": missing_before & ~missing_after,
            swap: moved,
            "blanked": ~missing_before & missing_after,
        }
        self.changed = int(sum(mask.sum() for mask in self.why.values()))

    def compute_fence(self) -> Fences | None:
        if self.spec.outliers.method == "none":
            return None
        floats = self.before.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False)
        return compute_fences(self.spec.outliers.method, floats, self.spec.outliers.limit())

    def as_dict(self, *, charted: bool) -> dict[str, JSON]:
        fence = self.compute_fence()
        return {
            "name": self.name,
            "dtype": str(self.before.type),
            "dtype_after": str(self.after.type),
            "missing": int(self.before.null_count),
            "missing_after": int(self.after.null_count),
            "outliers": self.cleaned.outliers,
            "lower": _convert_to_finite(fence.lower) if fence else None,
            "upper": _convert_to_finite(fence.upper) if fence else None,
            "changed": self.changed,
            **{why: int(mask.sum()) for why, mask in self.why.items()},
            "histogram": compare_histograms(self.before, self.after) if charted else None,
        }

    def iter_changes(self, most: int) -> Iterator[dict[str, JSON]]:
        """The first changed cells; rows count from 1, the header not among them."""
        changed = np.logical_or.reduce(list(self.why.values()))
        for row in np.flatnonzero(changed)[:most].tolist():
            yield {
                "row": row + 1,
                "column": self.name,
                "before": _format_cell(self.before[row].as_py()),
                "after": _format_cell(self.after[row].as_py()),
                "why": next(why for why, mask in self.why.items() if mask[row]),
            }


def _describe_steps(spec: CleanSpec, columns: list[_ColumnPreview]) -> list[JSON]:
    """The steps in their order, each with the cells that it changes, per column and in all."""
    outliers, fill = spec.outliers, spec.fill == "median_window"
    outlier_counts = {c.name: c.cleaned.outliers for c in columns if c.cleaned.outliers}
    touched = outlier_counts if outliers.action != "flag" else {}
    filled = {c.name: c.cleaned.filled for c in columns if c.cleaned.filled}
    steps: list[JSON] = []
    if outliers.method != "none":
        header = {"method": outliers.method, "threshold": outliers.limit(), "action": outliers.action}
        steps.append(
            {"step": "outliers", **header, "found": sum(outlier_counts.values()), **_build_cell_counts(touched)}
        )
    if fill:
        steps.append(
            {"step": "fill", "method": spec.fill, "window_size": spec.window_size, **_build_cell_counts(filled)}
        )
    return steps


def _build_cell_counts(by_column: Mapping[str, int]) -> dict[str, JSON]:
    return {"cells": sum(by_column.values()), "columns": dict(by_column)}


def _collect_changes(columns: list[_ColumnPreview]) -> list[dict[str, JSON]]:
    """Some cells of every changed column, in turns, in the order of the rows."""
    turns = zip_longest(*(column.iter_changes(MAX_CHANGES) for column in columns if column.changed))
    changes = [change for turn in turns for change in turn if change is not None][:MAX_CHANGES]
    return sorted(changes, key=lambda change: cast(int, change["row"]))


def _find_missing(column: pa.Array) -> Mask:
    return np.asarray(column.is_null().to_numpy(zero_copy_only=False), dtype=bool)


def _find_different(before: pa.Array, after: pa.Array) -> Mask:
    """Where two present values differ; integers that became floats are compared as floats."""
    if before.type != after.type:
        before = before.cast(after.type, safe=False)
    return np.asarray(pc.fill_null(pc.not_equal(before, after), False).to_numpy(zero_copy_only=False), dtype=bool)


def _convert_to_finite(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def _format_cell(value: Any) -> str | None:
    return None if value is None else str(value)[:PREVIEW_CHARACTERS]


def format_lines(report: Mapping[str, Any]) -> Iterator[str]:
    """The document for a person at a terminal."""
    of = "all" if report["whole"] else f"the first {report['rows']:,}"
    of += f" of {report['of_rows']:,}" if report["of_rows"] is not None and not report["whole"] else ""
    yield f"looked at {of} rows; nothing was written"
    if "rows_after" in report:
        yield from format_plan_lines(report)
        return
    for step in report["steps"]:
        how = ", ".join(str(step[key]) for key in ("method", "threshold", "action", "window_size") if key in step)
        count = f"{step['found']:,} found, " if "found" in step else ""
        yield f"{step['step']} ({how}): {count}{step['cells']:,} cells change"
    for column in report["columns"]:
        if column["changed"] or column["outliers"]:
            kinds = ("filled", "capped", "replaced", "blanked")
            counts = [f"{column[why]:,} {why}" for why in kinds if column.get(why)]
            counts += [f"{column['outliers']:,} outliers"] if column["outliers"] else []
            counts += [f"missing {column['missing']:,} -> {column['missing_after']:,}"]
            yield f"  {column['name']}: {', '.join(counts)}"
    if report["columns_added"]:
        yield f"columns added ({FLAG_SUFFIX}): {', '.join(report['columns_added'])}"
    yield f"rows dropped: {report['rows_dropped']:,}"
    for change in report["changes"]:
        before, after = (change[key] if change[key] is not None else "missing" for key in ("before", "after"))
        yield f"  row {change['row']:,}, {change['column']}: {before} -> {after} ({change['why']})"
    for warning in report["warnings"]:
        yield f"warning: {warning}"
