"""Clean a table in partitions, carried by any number of processes: the same table, counts and warnings as in one piece.

The result is one file where the table was one, and parts where it has parts or the spec asks for them.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from deepseek.clean.masks import find_masked_by_step, find_masked_columns
from deepseek.clean.origins import OriginRuns
from deepseek.clean.partitioned import PartitionedPlan, PartitionedResult
from deepseek.clean.results import (
    CleanResult,
    build_result,
    describe_work,
    refuse_empty_result,
    remove_values,
    write_json,
)
from deepseek.clean.spec import CleanSpec
from deepseek.clean.steps.base import StepContext
from deepseek.clean.steps.shape import drop_origin_column
from deepseek.job import JSON, Report
from deepseek.partitions.carriers import Carrier
from deepseek.partitions.nodes.job_carrier import count_workers, is_over_nodes, open_job_carrier
from deepseek.partitions.outputs import publish_parts
from deepseek.partitions.progress import PartitionProgress
from deepseek.partitions.sources import CastRows, PartitionSource, partition_parquet
from deepseek.partitions.tables import PartitionedTable, build_table_source, open_partitions
from deepseek.quality.expectations import list_expectation_warnings, refuse_failures
from deepseek.quality.partitioned import build_partitioned_report, check_partitioned_expectations


def is_partitioned(spec: CleanSpec, table: Path) -> bool:
    """Whether the table is cleaned in partitions: it has parts, the spec asks for parts, several processes or a
    cluster, or the job has several nodes."""
    return spec.processes > 1 or spec.cluster or spec.partitions is not None or table.is_dir() or is_over_nodes()


def clean_partitions(
    spec: CleanSpec,
    inputs: Mapping[str, Path],
    stage: Path,
    report: Report,
    *,
    context: StepContext,
    build_plan: Any,
) -> CleanResult:
    """Clean the table in the slot ``table`` into the folder `stage`. `build_plan`: the steps of (source, spec,
    warnings).

    Scratch files lie in a folder of `stage` that goes with the run; a lost process's partition is done again under
    another name. Raises what `run` does, each error with the row of the whole table.
    """
    with tempfile.TemporaryDirectory(dir=stage, prefix=".scratch-") as name:
        scratch = Path(name)
        second: Any = context.second  # other nodes see nothing but the inputs and the scratch folder
        context = replace(context, folder=scratch, second=second and replace(second, folder=scratch))
        return PartitionedRun(spec, inputs, stage, scratch, report, context, build_plan).run()


class PartitionedRun:
    """One run over the partitions of a table."""

    def __init__(
        self,
        spec: CleanSpec,
        inputs: Mapping[str, Path],
        stage: Path,
        scratch: Path,
        report: Report,
        context: StepContext,
        build_plan: Any,
    ) -> None:
        self.spec, self.inputs, self.stage, self.scratch, self.report = spec, inputs, stage, scratch, report
        self.context, self.build_plan = context, build_plan
        table = inputs["table"]
        self.hide = any(find_masked_by_step(spec.steps or []))
        self.in_parts = spec.partitions is not None or table.is_dir()
        self.progress = PartitionProgress(report, [])

    def run(self) -> CleanResult:
        with open_job_carrier(
            self.spec.processes,
            folder=self.stage,  # a second table is opened there
            inputs=self.inputs,
            report=self.report,
            observer=self.progress,
            on_cluster=self.spec.cluster,
        ) as carrier:
            table = self._open_table(carrier)
            self.report.log(f"{len(table.sources)} partitions of {table.rows:,} rows")
            plan, before = self._measure_before(table, carrier)
            result = PartitionedPlan(
                plan,
                table.sources,
                carrier,
                self.context,
                advance=lambda stage, done, total: self.progress.begin_stage(stage),
            ).run()
            refuse_empty_result(result.rows)
            after = self._measure_after(carrier, result, before)
        self.progress.end()
        return self._publish(result, before, after, table.rows)

    def _open_table(self, carrier: Carrier) -> PartitionedTable:
        return open_partitions(
            self.inputs["table"],
            self.spec.csv,
            self.scratch,
            self.spec.partitions,
            count_workers(carrier, self.spec.processes),
            carrier,
            hide=self.hide,
            rewrites=True,
            progress=self.progress,
        )

    def _measure_before(self, table: PartitionedTable, carrier: Carrier) -> tuple[list[Any], dict[str, JSON]]:
        """The steps, and the quality report of the table as it came."""
        source = build_table_source(table, carrier)
        self.report.log(f"read {source.rows:,} rows of {len(source.batches.schema)} columns")
        self.context.warnings += source.notes
        plan = self.build_plan(source, self.spec, self.context.warnings)
        self.progress.begin_stage("profile")
        warnings = list(self.context.warnings)
        return plan, build_partitioned_report(table.sources, carrier, self.scratch, warnings=warnings)

    def _measure_after(
        self, carrier: Carrier, result: PartitionedResult, before: Mapping[str, JSON]
    ) -> dict[str, JSON]:
        """The quality report of the result, with its expectations. Raises EngineError where one of them fails."""
        self.report.log(describe_work(result.runners))
        for warning in result.warnings:
            self.report.log(warning, level="warning")
        sources = self._open_result(result)
        self.progress.set_rows([source.rows for source in sources])
        self.progress.begin_stage("check")
        checks = check_partitioned_expectations(
            sources, carrier, self.scratch, self.spec.expectations, masked=find_masked_columns(self.spec)
        )
        refuse_failures(checks)
        for warning in list_expectation_warnings(checks):
            self.report.log(warning, level="warning")
            result.warnings.append(warning)
        self.progress.begin_stage("profile")
        parent = remove_values(before) if self.hide else before
        report = build_partitioned_report(sources, carrier, self.scratch, warnings=result.warnings, parent=parent)
        return report | {"expectations": checks}

    def _open_result(self, result: PartitionedResult) -> list[PartitionSource]:
        """The result as it was written, in the types that it was computed in."""
        schema = drop_origin_column(result.schema)
        paths = [part.path for part in result.parts if part.rows]
        return [CastRows(source, schema) for source in partition_parquet(paths, 1)]

    def _publish(
        self, result: PartitionedResult, before: dict[str, JSON], after: dict[str, JSON], rows_before: int
    ) -> CleanResult:
        rows = result.rows

        def advance(done: int) -> None:
            self.report.progress(done, rows, "rows", stage="write")

        schema = drop_origin_column(result.schema)
        parts = [(part.path, part.rows) for part in result.parts]
        files = publish_parts(parts, schema, self.stage, in_parts=self.in_parts, advance=advance)
        write_json(self.stage / "quality_before.json", before)
        write_json(self.stage / "quality_after.json", after)
        has_moved = self._write_origins(result, rows_before)
        self.report.progress(rows, rows, "rows", stage="write")
        missing = {name: sum(part.missing[name] for part in result.parts) for name in result.parts[0].missing}
        return build_result(schema, files, missing, result.runners, result.warnings, self.report, has_moved=has_moved)

    def _write_origins(self, result: PartitionedResult, rows_before: int) -> bool:
        """Whether rows of the result stand elsewhere than in the table; then the file that says from where."""
        parts = [(part.runs, part.rows) for part in result.parts if part.runs is not None]
        if not parts:
            return False
        runs = OriginRuns.join(parts)
        if runs.is_identity(rows_before):
            return False
        runs.write(self.stage / "origins.bin")
        return True
