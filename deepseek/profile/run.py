"""Measure one table: the entry point of the capability. The table itself is not changed, and not copied."""

import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import cast

from deepseek.job import JSON, EngineError, Output, Report, Result, stage_outputs
from deepseek.messages import N_, record_messages
from deepseek.partitions.carriers import open_carrier
from deepseek.partitions.progress import PartitionProgress
from deepseek.partitions.tables import build_table_source, open_partitions
from deepseek.profile.spec import ProfileSpec
from deepseek.quality.expectations import check_expectations, list_expectation_warnings, refuse_failures
from deepseek.quality.partitioned import build_partitioned_report, check_partitioned_expectations
from deepseek.quality.report import MEDIA_TYPE, build_quality_report
from deepseek.tables.parts import count_part_rows, format_part_name, list_parts
from deepseek.tables.sources import TableSource, open_table


def run(spec: ProfileSpec, *, inputs: Mapping[str, Path], out: Path, report: Report) -> Result:
    """Measure the table in the input slot ``table`` and write its quality report into the folder `out`.

    It is CSV, Parquet, JSON lines or Arrow. Memory is bounded, however long the table is.
    Raises EngineError for whatever is wrong with the file, and ``expectation_failed`` where an error of the
    expectations does not hold and `on_failure` is fail; then, as after a crash, there is no `out`.
    """
    path = _get_table(inputs)
    with stage_outputs(out) as stage:
        report.progress(0, None, "rows", stage="read")
        measure = _measure_in_partitions if spec.processes > 1 else _measure_in_one_piece
        source, measured = measure(spec, path, stage, report)
        text = json.dumps(record_messages(measured), ensure_ascii=False, allow_nan=False, indent=1) + "\n"
        (stage / "quality.json").write_text(text, encoding="utf-8")
        counted = int(str(measured["rows"]))
        results = cast("list[dict[str, JSON]]", measured["expectations"])
        report.log(f"measured {counted:,} rows of {len(source.batches.schema)} columns")
        failed = sum(result["verdict"] == "fail" for result in results)
        report.metric("rows", counted)
        report.metric("expectations_failed", failed)
        meta = build_table_meta(source, counted, failed)
        if path.is_dir():
            parts = {format_part_name(part, path): part for part in list_parts(path)}
            meta["part_rows"] = {name: count_part_rows(part, name) for name, part in parts.items()}
        warnings = [*source.notes, *list_expectation_warnings(results)]
        summary: dict[str, JSON] = {"rows": counted, "expectations_failed": failed, "warnings": list(warnings)}
        return Result(outputs=(Output("quality", "quality.json", MEDIA_TYPE, meta),), summary=summary)


def _measure_in_one_piece(
    spec: ProfileSpec, path: Path, stage: Path, report: Report
) -> tuple[TableSource, dict[str, JSON]]:
    source = open_table(path, spec.csv, stage, nested=True)  # what it keeps in the stage has no name
    results = check_expectations(source.batches, spec.expectations)
    warnings = _list_warnings(spec, source, results, report)

    def advance(done: int) -> None:
        report.progress(done, source.rows, "rows", stage="profile")

    measured = build_quality_report(source.batches, warnings=warnings, advance=advance)
    return source, {**measured, "expectations": cast("list[JSON]", results)}


def _measure_in_partitions(
    spec: ProfileSpec, path: Path, stage: Path, report: Report
) -> tuple[TableSource, dict[str, JSON]]:
    """The same report by several processes; correlations may differ in the last of their decimals."""
    with tempfile.TemporaryDirectory(dir=stage, prefix=".scratch-") as name:
        scratch = Path(name)
        progress = PartitionProgress(report, [])
        with open_carrier(spec.processes, observer=progress) as carrier:
            table = open_partitions(
                path, spec.csv, scratch, None, spec.processes, carrier, nested=True, progress=progress
            )
            source = build_table_source(table, carrier)
            progress.begin_stage("check")
            results = check_partitioned_expectations(table.sources, carrier, scratch, spec.expectations)
            warnings = _list_warnings(spec, source, results, report)
            progress.begin_stage("profile")
            measured = build_partitioned_report(table.sources, carrier, scratch, warnings=warnings)
        progress.end()
    return source, {**measured, "expectations": cast("list[JSON]", results)}


def _list_warnings(spec: ProfileSpec, source: TableSource, results: list[dict[str, JSON]], report: Report) -> list[str]:
    """What is remarkable of the table; logged. Raises EngineError ``expectation_failed``."""
    if spec.on_failure == "fail":
        refuse_failures(results)
    warnings = [*source.notes, *list_expectation_warnings(results)]
    for warning in warnings:
        report.log(warning, level="warning")
    return warnings


def build_table_meta(source: TableSource, rows: int, failed: int) -> dict[str, JSON]:
    """What is told of the table that was measured: what a version of it records."""
    columns: list[JSON] = [{"name": field.name, "dtype": str(field.type)} for field in source.batches.schema]
    meta: dict[str, JSON] = {"rows": rows, "columns": columns, "expectations_failed": failed, "format": source.format}
    if source.csv is not None:
        meta["csv"] = {"delimiter": source.csv.delimiter, "encoding": source.csv.encoding}
    return meta


def _get_table(inputs: Mapping[str, Path]) -> Path:
    if set(inputs) != {"table"}:
        raise EngineError(
            "wrong_inputs",
            "Measuring takes one input, in the slot 'table'.",
            field="inputs",
            value=", ".join(sorted(inputs)) or "none",
            limit="table",
            hint=N_("Give one CSV or Parquet file as 'table'."),
        )
    return inputs["table"]
