"""Clean one table: the entry point of the capability."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from deepseek.clean.column import CleanedColumn, can_clean, clean_column
from deepseek.clean.execution import WrittenTable, execute, write_parquet
from deepseek.clean.masks import find_masked_by_step, find_masked_columns
from deepseek.clean.partitioned_run import clean_partitions, is_partitioned
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
from deepseek.clean.steps.join import SLOT as JOIN_SLOT
from deepseek.clean.steps.masking import KEY_SLOT
from deepseek.clean.steps.shape import drop_origin_column
from deepseek.job import JSON, EngineError, Report, stage_outputs
from deepseek.messages import N_, Message
from deepseek.partitions.outputs import FILE, SLOT, PartFile
from deepseek.partitions.sources import cast_batches
from deepseek.quality.expectations import check_expectations, list_expectation_warnings, refuse_failures
from deepseek.quality.report import build_quality_report
from deepseek.tables.batches import Batches
from deepseek.tables.files import require_columns
from deepseek.tables.sources import ParquetBatches, TableSource, open_table
from deepseek.tables.spec import CsvSpec
from deepseek.tables.streams import select_columns

FLAG_SUFFIX = "__outlier"


@dataclass(frozen=True)
class SimplePlan:
    """What a spec without steps asks for, as one step of a plan."""

    spec: CleanSpec
    columns: tuple[str, ...]
    kind: str = "simple"


def run(spec: CleanSpec, *, inputs: Mapping[str, Path], out: Path, report: Report) -> CleanResult:
    """Clean the table in the input slot ``table`` and write the outputs into the folder `out`.

    It is CSV, Parquet, JSON lines or Arrow. Optional slots: ``join``, a second table for a step join, and
    ``pseudonym_key``, a file with the key for pseudonyms. Memory is bounded, however long the table is.
    Raises EngineError for whatever is wrong with the files or the spec; then, as after a crash, there is no `out`.
    """
    path = _get_table_path(inputs)
    with stage_outputs(out) as stage:
        report.progress(0, None, "rows", stage="read")
        hide = any(find_masked_by_step(spec.steps or []))
        context = StepContext(
            folder=stage, second=_build_second_table_opener(inputs, spec, stage, hide=hide), key=_read_key(inputs)
        )
        if is_partitioned(spec, path):
            return clean_partitions(spec, inputs, stage, report, context=context, build_plan=_build_plan)
        return _clean_in_one_piece(spec, path, stage, report, context, hide=hide)


def _clean_in_one_piece(
    spec: CleanSpec, path: Path, stage: Path, report: Report, context: StepContext, *, hide: bool
) -> CleanResult:
    masked = find_masked_columns(spec)
    source = open_table(path, spec.csv, stage, hide=hide, rewrites=True)
    report.progress(source.rows, source.rows, "rows", stage="read")
    report.log(f"read {source.rows:,} rows of {len(source.batches.schema)} columns")
    context.warnings += source.notes
    plan = _build_plan(source, spec, context.warnings)
    before = _build_report(source.batches, source.rows, list(context.warnings), report)
    report.progress(0, source.rows, "rows", stage="clean")
    execution = execute(plan, source.batches, context)
    written = _write(execution.batches, stage / FILE, source.rows, report)
    schema = drop_origin_column(execution.batches.schema)
    report.log(describe_work(execution.runners))
    for warning in execution.warnings:
        report.log(warning, level="warning")
    cleaned = cast_batches(ParquetBatches(stage / FILE), schema)
    results = check_expectations(cleaned, spec.expectations, masked=masked)
    refuse_failures(results)
    for warning in list_expectation_warnings(results):
        report.log(warning, level="warning")
        execution.warnings.append(warning)
    parent = remove_values(before) if hide else before
    after = _build_report(cleaned, written.rows, execution.warnings, report, parent=parent) | {"expectations": results}
    write_json(stage / "quality_before.json", before)
    write_json(stage / "quality_after.json", after)
    runs = written.runs if written.runs is not None and not written.runs.is_identity(source.rows) else None
    if runs is not None:
        runs.write(stage / "origins.bin")
    report.progress(written.rows, written.rows, "rows", stage="write")
    files = [PartFile(SLOT, FILE, written.rows)]
    return build_result(
        schema, files, written.missing, execution.runners, execution.warnings, report, has_moved=runs is not None
    )


def _build_plan(source: TableSource, spec: CleanSpec, warnings: list[str]) -> list[Any]:
    return list(spec.steps) if spec.steps is not None else [_build_simple_plan(source, spec, warnings)]


def _get_table_path(inputs: Mapping[str, Path]) -> Path:
    if "table" not in inputs or set(inputs) - {"table", JOIN_SLOT, KEY_SLOT}:
        raise EngineError(
            "wrong_inputs",
            "Cleaning takes one input, in the slot 'table'.",
            field="inputs",
            value=", ".join(sorted(inputs)) or "none",
            limit="table",
            hint=N_("Give one CSV or Parquet file as 'table'."),
        )
    return inputs["table"]


@dataclass(frozen=True)
class SecondTable:
    """Opens the table of a step join; travels to other processes."""

    path: Path
    csv: CsvSpec
    folder: Path
    hide: bool

    def __call__(self) -> Batches:
        return open_table(self.path, self.csv, self.folder, slot=f"inputs/{JOIN_SLOT}", hide=self.hide).batches


def _build_second_table_opener(
    inputs: Mapping[str, Path], spec: CleanSpec, folder: Path, *, hide: bool
) -> Callable[[], Batches] | None:
    path = inputs.get(JOIN_SLOT)
    return None if path is None else SecondTable(path, spec.csv, folder, hide)


def _read_key(inputs: Mapping[str, Path]) -> bytes | None:
    """The key for pseudonyms; a line end behind it is not part of it."""
    path = inputs.get(KEY_SLOT)
    try:
        return None if path is None else path.read_bytes()[:4096].rstrip(b"\r\n")
    except OSError as error:
        raise EngineError(
            "input_unreadable",
            "The file with the key for pseudonyms cannot be read: {strerror}.",
            strerror=error.strerror,
            field=f"inputs/{KEY_SLOT}",
            hint=N_("Name a file that exists and may be read."),
        ) from error


def _build_simple_plan(source: TableSource, spec: CleanSpec, warnings: list[str]) -> SimplePlan:
    chosen, more = choose_columns(source, spec)
    warnings += more
    return SimplePlan(spec, tuple(chosen))


def _write(result: Batches, path: Path, rows: int, report: Report) -> WrittenTable:
    report.progress(0, rows, "rows", stage="write")
    written = write_parquet(result, path, lambda done: report.progress(done, max(rows, done), "rows", stage="write"))
    refuse_empty_result(written.rows)
    return written


def choose_columns(source: TableSource, spec: CleanSpec) -> tuple[list[str], list[str]]:
    """The columns that a spec without steps cleans, and warnings about those that were passed over."""
    schema = source.batches.schema
    if spec.columns is not None:
        require_columns(schema.names, spec.columns)
        for position, name in enumerate(spec.columns):
            _refuse_unfit(name, source, f"/columns/{position}")
        return list(spec.columns), []
    chosen, warnings = [], []
    for field in schema:
        if source.nulls[field.name] == source.rows:
            warnings.append(f"Column {field.name!r} has no value at all and was left as it is.")
        elif pa.types.is_decimal(field.type):
            warnings.append(
                f"Column {field.name!r} is of type {field.type}, which is not cleaned, and was left as it is."
            )
        elif can_clean(field.type):
            chosen.append(field.name)
    if not chosen:
        warnings.append("The table has no numeric column to clean.")
    return chosen, warnings


def _refuse_unfit(name: str, source: TableSource, field: str) -> None:
    kind = source.batches.schema.field(name).type
    if source.nulls[name] == source.rows:
        raise EngineError(
            "column_all_missing",
            "The column {name!r} has no value at all: nothing can be filled from.",
            name=name,
            field=field,
            value=name,
            limit="at least one present value",
            hint=N_("Leave the column out, or check the missing tokens of the spec."),
        )
    if not can_clean(kind):
        raise EngineError(
            "column_not_numeric",
            "The column {name!r} is not numeric: its type is {kind}.",
            name=name,
            kind=kind,
            field=field,
            value=name,
            limit="a column of integers or floats",
            hint=_find_first_text(source.batches, name) or Message("Leave the column out, or convert it first."),
        )


def _find_first_text(batches: Batches, name: str) -> str:
    """The first cell that keeps a text column from being numeric."""
    kind = batches.schema.field(name).type
    done = 0
    for batch in select_columns(batches, [name]) if pa.types.is_string(kind) or pa.types.is_large_string(kind) else ():
        for row, cell in enumerate(batch.column(0).slice(0, 100_000 - done).to_pylist(), start=done + 1):
            try:
                float(cell if cell is not None else 0)
            except ValueError:
                return Message(
                    "Data row {row} holds {cell!r}: correct it, or make it a missing token.", row=row, cell=cell[:50]
                )
        done += batch.num_rows
        if done >= 100_000:
            break
    return ""


def clean_columns(
    table: pa.Table, chosen: list[str], spec: CleanSpec, report: Report
) -> tuple[pa.Table, dict[str, CleanedColumn], list[str]]:
    """The table with the chosen columns cleaned, each followed by its flags if there are any, and warnings.

    A column that nobody named and that cannot be filled exactly, such as big identifiers, is left as it is.
    """
    warnings: list[str] = []
    columns: dict[str, pa.Array] = {}
    done: dict[str, CleanedColumn] = {}
    for name in table.column_names:
        column = table.column(name).combine_chunks()
        if name not in chosen:
            columns[name] = column
            continue
        try:
            cleaned = clean_column(name, column, spec)
        except EngineError as error:
            if error.code != "inexact_integers" or spec.columns is not None:
                raise
            warnings.append(f"Column {name!r} was left as it is: {error.message}")
            columns[name] = column
            continue
        done[name] = cleaned
        columns[name] = cleaned.values
        if cleaned.flags is not None:
            _refuse_existing_flag_column(name, table.column_names)
            columns[name + FLAG_SUFFIX] = cleaned.flags
        report.progress(table.num_rows * len(done) // len(chosen), table.num_rows, "rows", stage="clean")
        if cleaned.note:
            warnings.append(f"Column {name!r}: {cleaned.note}.")
    return pa.table(columns), done, warnings


def _refuse_existing_flag_column(name: str, names: list[str]) -> None:
    if name + FLAG_SUFFIX in names:
        raise EngineError(
            "column_exists",
            "The flags of {name!r} need the column name {name_2!r}, which the table already has.",
            name=name,
            name_2=name + FLAG_SUFFIX,
            field="/outliers/action",
            value="flag",
            limit="cap, blank, or a table without that column",
            hint=N_("Rename or remove that column, or choose another action."),
        )


def _build_report(
    batches: Batches, rows: int, warnings: list[str], report: Report, parent: Mapping[str, JSON] | None = None
) -> dict[str, JSON]:
    def advance(done: int) -> None:
        report.progress(done, rows, "rows", stage="profile")

    return build_quality_report(batches, warnings=warnings, advance=advance, parent=parent)
