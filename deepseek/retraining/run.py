"""Make the table that a model is trained on anew: its former rows, and what was observed since with its labels.

The newest labelled rows are held back as a table of their own, so that the next version is evaluated on rows that no
training has seen.
"""

import heapq
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from deepseek.job import JSON, EngineError, Output, Report, Result, stage_outputs
from deepseek.messages import N_
from deepseek.observations.columns import Row
from deepseek.observations.run import PARQUET, group_parts, iterate_rows
from deepseek.observations.spec import ObservationsSpec
from deepseek.retraining.spec import BASE, MAX_FRESH_ROWS, RetrainingDataSpec
from deepseek.tables.files import read_table, require_columns, write_table

TABLE, FRESH = "retraining.parquet", "fresh.parquet"
Cells = dict[str, Any]
"""A row as it becomes: {column: value}."""


def run(spec: RetrainingDataSpec, *, inputs: Mapping[str, Path], out: Path, report: Report) -> Result:
    """Write ``retraining.parquet`` and ``fresh.parquet`` into `out`.

    `inputs`: the former table as ``base``, and parts of observations, each named as deepseek.observations.run takes it
    with the number of its source behind: ``predictions-2026112910-17-3``. Ids are those of their source, so predictions
    and labels are joined source by source. Raises EngineError ``too_few_rows``, ``feature_absent``,
    ``bad_cell``, ``period_too_long``, and those of reading a table.
    """
    base = read_table(inputs[BASE], spec.csv)
    require_columns(base.column_names, [spec.target, *spec.features])
    rows = [cells for _at, _id, cells in iterate_labelled(spec, inputs, report)]
    if len(rows) < spec.min_rows:
        raise EngineError(
            "too_few_rows",
            N_("{count} labelled rows can be trained on, and {least} are needed."),
            count=len(rows),
            least=spec.min_rows,
            field="/min_rows",
            limit=spec.min_rows,
            hint=N_("Wait for more labels, or lower the number of rows that is needed."),
        )
    require_features(spec, rows)
    observed = pa.table({field.name: convert_cells(field, rows) for field in base.schema})
    heldout_rows = max(1, round(len(rows) * spec.fresh_share))
    context = min(spec.context, len(rows) - heldout_rows)
    learned = observed.slice(0, len(rows) - heldout_rows)
    parts = [base, learned] if spec.mode == "append" else [learned]
    tables = {
        TABLE: pa.concat_tables(parts, promote_options="permissive"),
        FRESH: observed.slice(len(rows) - heldout_rows - context),
    }
    with stage_outputs(out) as stage:
        for name, table in tables.items():
            write_table(table, stage / name)
    counts: dict[str, JSON] = {
        "former": base.num_rows,
        "observed": len(rows),
        "held_back": heldout_rows,
        "context": context,
    }
    slots = {TABLE: "table", FRESH: "fresh"}
    outputs = [Output(slots[name], name, PARQUET, describe_table(table)) for name, table in tables.items()]
    return Result(tuple(outputs), counts)


def describe_table(table: pa.Table) -> dict[str, JSON]:
    return {"rows": table.num_rows, "columns": [{"name": each.name, "dtype": str(each.type)} for each in table.schema]}


# -- rows -----------------------------------------------------------------------------------------------------------
def iterate_labelled(
    spec: RetrainingDataSpec, inputs: Mapping[str, Path], report: Report
) -> Iterator[tuple[Any, str, Cells]]:
    """(time, id, cells) of every labelled prediction of the period that has features, in the order of their times."""
    sources: dict[str, dict[str, Path]] = defaultdict(dict)
    for slot, path in inputs.items():
        if slot != BASE:
            sources[slot.rpartition("-")[2]][slot] = path
    narrow = {"since": spec.since, "until": spec.until, "model": spec.model, "labelled_only": True}
    period = ObservationsSpec(source="-", **narrow)
    streams = [iterate_source(spec, period, parts) for _source, parts in sorted(sources.items())]
    for count, row in enumerate(heapq.merge(*streams, key=lambda each: each[:2]), 1):
        if count > MAX_FRESH_ROWS:
            raise EngineError(
                "period_too_long",
                N_("The period has more than {most} labelled rows."),
                most=MAX_FRESH_ROWS,
                field="/since",
                limit=MAX_FRESH_ROWS,
                hint=N_("Choose a shorter period."),
            )
        if count % 10_000 == 0:
            report.progress(count, None, "rows", stage="read")
        yield row


def iterate_source(
    spec: RetrainingDataSpec, wanted: ObservationsSpec, parts: Mapping[str, Path]
) -> Iterator[tuple[Any, str, Cells]]:
    """The rows of one source, hour by hour; within an hour they may have come in any order."""
    for files in group_parts(parts).values():
        hour = []
        for row in iterate_rows(wanted, files):
            cells = build_cells(spec, row)
            if cells is not None:
                hour.append((row.meta["predicted_at"], row.meta["prediction_id"], cells))
        yield from sorted(hour, key=lambda each: each[:2])


def build_cells(spec: RetrainingDataSpec, row: Row) -> Cells | None:
    """The cells of a prediction; None where its features were not recorded, or are not what the model takes."""
    cells = {spec.target: row.label}
    if spec.task == "forecast":  # it predicts from the past of the target, which the labels before it are
        return cells
    if isinstance(row.features, Mapping):
        return {**row.features, **cells}
    if isinstance(row.features, list) and len(row.features) == len(spec.features):
        return {**dict(zip(spec.features, row.features, strict=True)), **cells}
    return None


def require_features(spec: RetrainingDataSpec, rows: Sequence[Cells]) -> None:
    absent = [name for name in spec.features if all(row.get(name) is None for row in rows)]
    if absent:
        raise EngineError(
            "feature_absent",
            N_("No prediction has the feature {name}, which the model is trained on."),
            name=absent[0],
            field="/features",
            value=", ".join(absent[:20]),
            hint=N_("Record features under the names of the training columns, or as a list in their order."),
        )


# -- cells ----------------------------------------------------------------------------------------------------------
def convert_cells(field: pa.Field, rows: Sequence[Cells]) -> pa.Array:
    """The cells of a column, of the type that the former table has; whole numbers become numbers where they must."""
    values = [row.get(field.name) for row in rows]
    kind = field.type
    if pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        numbers = [read_number(field.name, value) for value in values]
        is_whole = pa.types.is_integer(kind) and all(value is None or value.is_integer() for value in numbers)
        return pa.array([None if value is None else int(value) for value in numbers] if is_whole else numbers)
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return pa.array([None if value is None else write_text(value) for value in values], kind)
    if all(value is None for value in values):
        return pa.nulls(len(values), kind)
    try:
        return pa.array(values).cast(kind)
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError):
        raise build_cell_error(field.name, next(value for value in values if value is not None), str(kind)) from None


def read_number(name: str, value: Any) -> float | None:
    if value is None:
        return None
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        raise build_cell_error(name, value, "a number") from None


def write_text(value: Any) -> str:
    """As a table of text has it: true, 3 and not 3.0."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)


def build_cell_error(name: str, value: Any, kind: str) -> EngineError:
    return EngineError(
        "bad_cell",
        N_("{cell} is no value of the column {name}, which is {kind}."),
        cell=str(value)[:60],
        name=name,
        kind=kind,
        field="/features",
        hint=N_("Label and features must be of the kind that the training data has."),
    )
