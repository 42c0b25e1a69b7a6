"""What a cleaning made: its outputs, its summary and its counts, however the table was read."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import pyarrow as pa

from deepseek.clean.execution import build_step_reports
from deepseek.clean.origins import MEDIA_TYPE as ORIGINS_TYPE
from deepseek.clean.steps.base import StepRunner
from deepseek.clean.steps.simple import SimplePlanStep
from deepseek.job import JSON, EngineError, Output, Report, Result
from deepseek.messages import N_, record_messages
from deepseek.partitions.outputs import TABLE_TYPE, PartFile
from deepseek.quality.report import MEDIA_TYPE


@dataclass(frozen=True)
class CleanResult(Result):
    """Outputs ``table``, ``quality_before`` and ``quality_after``; the summary counts, per column, what was done."""

    @property
    def rows(self) -> int:
        """Rows of the table."""
        return cast(int, self.summary["rows"])

    @property
    def filled(self) -> dict[str, int]:
        """Values filled, per cleaned column."""
        return cast("dict[str, int]", self.summary["filled"])


def describe_work(runners: list[StepRunner]) -> str:
    """What was done, for the log."""
    names = runners[0].names if isinstance(runners[0], SimplePlanStep) else []
    if isinstance(runners[0], SimplePlanStep):
        counted = "1 column" if len(names) == 1 else f"{len(names)} columns"
        return f"cleaned {counted}: {', '.join(names) or 'none'}"
    return "; ".join(
        f"{report['kind']}: {report['cells']:,} cells, {report['rows_out']:,} rows"
        for report in build_step_reports(runners)
    )


def remove_values(report: Mapping[str, Any]) -> dict[str, JSON]:
    """Return the report without its values: those that a plan masks would reappear as lost categories of the parent."""
    columns = [{name: value for name, value in column.items() if name != "values"} for column in report["columns"]]
    return {**report, "columns": cast("list[JSON]", columns)}


def write_json(path: Path, document: dict[str, JSON]) -> None:
    """Write a report, its messages with their values."""
    text = json.dumps(record_messages(document), ensure_ascii=False, allow_nan=False, indent=1) + "\n"
    path.write_text(text, encoding="utf-8")


def build_result(
    schema: pa.Schema,
    files: Sequence[PartFile],
    missing_cells: Mapping[str, int],
    runners: list[StepRunner],
    warnings: list[str],
    report: Report,
    *,
    has_moved: bool,
) -> CleanResult:
    """The result of a run that wrote `files`; `missing_cells`: what its columns lack. `has_moved`: whether rows stand
    elsewhere than in the table, which the file of origins tells."""
    rows = sum(file.rows for file in files)
    filled, missing, outliers = _count_changes(missing_cells, runners)
    report.metric("rows", rows)
    report.metric("filled", sum(filled.values()))
    report.metric("still_missing", sum(missing.values()))
    report.metric("outliers", sum(outliers.values()))
    columns: list[JSON] = [{"name": f.name, "dtype": str(f.type)} for f in schema]
    about: dict[str, JSON] = {"columns": columns, "filled": sum(filled.values())}
    about["origins"] = "runs" if has_moved else "kept"
    outputs = [
        *(Output(file.slot, file.name, TABLE_TYPE, {"rows": file.rows, **about}) for file in files),
        Output("quality_before", "quality_before.json", MEDIA_TYPE),
        Output("quality_after", "quality_after.json", MEDIA_TYPE),
    ]
    if has_moved:
        outputs.append(Output("origins", "origins.bin", ORIGINS_TYPE))
    summary: dict[str, JSON] = {
        "rows": rows,
        "filled": filled,
        "still_missing": missing,
        "outliers": outliers,
        "warnings": list(warnings),
    }
    if not isinstance(runners[0], SimplePlanStep):
        summary["steps"] = cast("list[JSON]", build_step_reports(runners))
    return CleanResult(outputs=tuple(outputs), summary=summary)


def _count_changes(
    missing_cells: Mapping[str, int], runners: list[StepRunner]
) -> tuple[dict[str, int], dict[str, int], dict[str, int]]:
    """By column: values filled, values still missing in columns that were filled, outliers found."""
    first = runners[0]
    if isinstance(first, SimplePlanStep):
        return first.filled, first.missing, first.found
    filled: dict[str, int] = {}
    outliers: dict[str, int] = {}
    for runner in runners:
        for name, cells in runner.cells.items() if runner.step.kind.startswith("fill_") else ():
            filled[name] = filled.get(name, 0) + cells
        for name, count in runner.found.items():
            outliers[name] = outliers.get(name, 0) + count
    return filled, {name: missing_cells[name] for name in filled if name in missing_cells}, outliers


def refuse_empty_result(rows: int) -> None:
    """Raise EngineError ``no_row_left`` where the plan left no row."""
    if rows:
        return
    raise EngineError(
        "no_row_left",
        "The plan leaves no row of the table.",
        field="/steps",
        limit="at least one row that stays",
        hint=N_("Look at the conditions of its steps; the preview tells what each step drops."),
    )
