"""Clean one table: the entry point of the capability."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import pyarrow as pa

from deepseek.clean.columns import Cleaned, can_clean, clean_column
from deepseek.clean.quality import MEDIA_TYPE, profile
from deepseek.clean.spec import CleanSpec
from deepseek.clean.tables import read_table, require_columns, write_table
from deepseek.job import JSON, EngineError, Output, Report, Result, staged

TABLE_TYPE = "application/vnd.apache.parquet"
FLAG_SUFFIX = "__outlier"


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


def run(spec: CleanSpec, *, inputs: Mapping[str, Path], out: Path, report: Report) -> CleanResult:
    """Clean the table in the input slot ``table`` (CSV or Parquet) and write the outputs into the folder `out`.

    Raises EngineError for whatever is wrong with the file or the spec; then, as after a crash, there is no `out`.
    """
    source = _only_table(inputs)
    with staged(out) as stage:
        report.progress(0, None, "rows", stage="read")
        table = read_table(source, spec.csv)
        rows = table.num_rows
        report.progress(rows, rows, "rows", stage="read")
        report.log(f"read {rows:,} rows of {table.num_columns} columns")
        chosen, warnings = _choose_columns(table, spec)
        before = _profile(table, list(warnings), report)
        cleaned, done, more = _clean(table, chosen, spec, report)
        warnings += more
        report.log(f"cleaned {len(chosen)} columns: {', '.join(chosen) or 'none'}")
        for warning in warnings:
            report.log(warning, level="warning")
        after = _profile(cleaned, warnings, report)
        report.progress(0, rows, "rows", stage="write")
        write_table(cleaned, stage / "table.parquet")
        _write_json(stage / "quality_before.json", before)
        _write_json(stage / "quality_after.json", after)
        report.progress(rows, rows, "rows", stage="write")
        return _result(cleaned, done, warnings, report)


def _only_table(inputs: Mapping[str, Path]) -> Path:
    if set(inputs) != {"table"}:
        raise EngineError(
            "wrong_inputs",
            "Cleaning takes one input, in the slot 'table'.",
            field="inputs",
            value=", ".join(sorted(inputs)) or "none",
            limit="table",
            hint="Give one CSV or Parquet file as 'table'.",
        )
    return inputs["table"]


def _choose_columns(table: pa.Table, spec: CleanSpec) -> tuple[list[str], list[str]]:
    """The columns to clean, and warnings about those that were passed over."""
    if spec.columns is not None:
        require_columns(table.column_names, spec.columns)
        for position, name in enumerate(spec.columns):
            _refuse_unfit(name, table.column(name), f"/columns/{position}")
        return list(spec.columns), []
    chosen, warnings = [], []
    for name in table.column_names:
        column = table.column(name)
        if column.null_count == len(column):
            warnings.append(f"Column {name!r} has no value at all and was left as it is.")
        elif pa.types.is_decimal(column.type):
            warnings.append(f"Column {name!r} is of type {column.type}, which is not cleaned, and was left as it is.")
        elif can_clean(column.type):
            chosen.append(name)
    if not chosen:
        warnings.append("The table has no numeric column to clean.")
    return chosen, warnings


def _refuse_unfit(name: str, column: pa.ChunkedArray, field: str) -> None:
    if column.null_count == len(column):
        raise EngineError(
            "column_all_missing",
            f"The column {name!r} has no value at all: nothing can be filled from.",
            field=field,
            value=name,
            limit="at least one present value",
            hint="Leave the column out, or check the missing tokens of the spec.",
        )
    if not can_clean(column.type):
        raise EngineError(
            "column_not_numeric",
            f"The column {name!r} is not numeric: its type is {column.type}.",
            field=field,
            value=name,
            limit="a column of integers or floats",
            hint=_why_text(column) or "Leave the column out, or convert it first.",
        )


def _why_text(column: pa.ChunkedArray) -> str:
    """The first cell that keeps a text column from being numeric."""
    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        for row, cell in enumerate(column.slice(0, 100_000).to_pylist(), start=1):
            try:
                float(cell if cell is not None else 0)
            except ValueError:
                return f"Data row {row} holds {cell[:50]!r}: correct it, or make it a missing token."
    return ""


def _clean(
    table: pa.Table, chosen: list[str], spec: CleanSpec, report: Report
) -> tuple[pa.Table, dict[str, Cleaned], list[str]]:
    """The table with the chosen columns cleaned, each followed by its flags if there are any, and warnings.

    A column that nobody named and that cannot be filled exactly, such as big identifiers, is left as it is.
    """
    warnings: list[str] = []
    columns: dict[str, pa.Array] = {}
    done: dict[str, Cleaned] = {}
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
            _refuse_taken(name, table.column_names)
            columns[name + FLAG_SUFFIX] = cleaned.flags
        report.progress(table.num_rows * len(done) // len(chosen), table.num_rows, "rows", stage="clean")
        if cleaned.note:
            warnings.append(f"Column {name!r}: {cleaned.note}.")
    return pa.table(columns), done, warnings


def _refuse_taken(name: str, names: list[str]) -> None:
    if name + FLAG_SUFFIX in names:
        raise EngineError(
            "column_exists",
            f"The flags of {name!r} need the column name {name + FLAG_SUFFIX!r}, which the table already has.",
            field="/outliers/action",
            value="flag",
            limit="cap, blank, or a table without that column",
            hint="Rename or remove that column, or choose another action.",
        )


def _profile(table: pa.Table, warnings: list[str], report: Report) -> dict[str, JSON]:
    def advance(rows: int) -> None:
        report.progress(rows, table.num_rows, "rows", stage="profile")

    return profile(table, warnings=warnings, advance=advance)


def _write_json(path: Path, document: dict[str, JSON]) -> None:
    text = json.dumps(document, ensure_ascii=False, allow_nan=False, indent=1) + "\n"
    path.write_text(text, encoding="utf-8")


def _result(table: pa.Table, done: dict[str, Cleaned], warnings: list[str], report: Report) -> CleanResult:
    filled = sum(c.filled for c in done.values())
    report.metric("rows", table.num_rows)
    report.metric("filled", filled)
    report.metric("still_missing", sum(c.still_missing for c in done.values()))
    report.metric("outliers", sum(c.outliers for c in done.values()))
    columns: list[JSON] = [{"name": f.name, "dtype": str(f.type)} for f in table.schema]
    return CleanResult(
        outputs=(
            Output(
                "table", "table.parquet", TABLE_TYPE, {"rows": table.num_rows, "columns": columns, "filled": filled}
            ),
            Output("quality_before", "quality_before.json", MEDIA_TYPE),
            Output("quality_after", "quality_after.json", MEDIA_TYPE),
        ),
        summary={
            "rows": table.num_rows,
            "filled": {name: c.filled for name, c in done.items()},
            "still_missing": {name: c.still_missing for name, c in done.items()},
            "outliers": {name: c.outliers for name, c in done.items()},
            "warnings": list(warnings),
        },
    )
