"""Make one table of many parts: each prediction with its features, its answer and the label that came for it."""

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from deepseek.job import JSON, EngineError, Output, Report, Result, stage_outputs
from deepseek.messages import N_
from deepseek.observations.columns import ColumnTypes, Row, flatten_features
from deepseek.observations.pack import INSTANT
from deepseek.observations.spec import ObservationsSpec

PARQUET = "application/vnd.apache.parquet"
TABLE = "observations.parquet"
ROWS_PER_READ = 100  # of up to 80,000 characters
CELLS_PER_BATCH = 100_000  # as Python objects, some 50 bytes and more each
CHARACTERS_PER_BATCH = 16 * 2**20  # likewise, of the texts
ROWS_PER_GROUP = 20_000
BYTES_PER_GROUP = 128 * 2**20  # in Arrow: many small groups would make the file's footer large
META = {
    "prediction_id": pa.string(),
    "predicted_at": INSTANT,
    "model_version": pa.string(),
    "variant": pa.string(),
    "latency_ms": pa.float64(),
    "features_digest": pa.string(),
    "labelled_at": INSTANT,
}
"""What stands before the features. `prediction` and `label` stand behind them, of the type that they have."""
RESERVED = (*META, "prediction", "label")


def run(spec: ObservationsSpec, *, inputs: Mapping[str, Path], out: Path, report: Report) -> Result:
    """Write ``observations.parquet`` into `out`. A slot is named by the kind of its part and the hour, and what tells
    parts of the same hour apart: ``predictions-2026112910-17``.

    Memory holds the labels of one hour, one batch of rows and one row group, both bounded by size. Raises EngineError
    ``no_observations`` where nothing fits, ``too_many_features`` (columns.py), ``bad_part``.
    """
    hours = group_parts(inputs)
    types = ColumnTypes(RESERVED, as_json=spec.features == "json")
    rows = 0
    for number, parts in enumerate(hours.values()):
        report.progress(number, len(hours), "parts", stage="read")
        for row in iterate_rows(spec, parts):
            types.observe(row)
            rows += 1
    if not rows:
        raise EngineError(
            "no_observations",
            N_("No prediction of {source} fits."),
            source=spec.source,
            field="/since",
            value=f"{spec.since.isoformat()} to {spec.until.isoformat()}",
            hint=N_("Choose a longer period, or fewer filters."),
        )
    schema = pa.schema([*META.items(), *types.build_fields()])
    with stage_outputs(out) as stage:
        write_table(spec, hours, types, schema, stage / TABLE, report, rows)
    columns: JSON = [{"name": field.name, "dtype": str(field.type)} for field in schema]
    return Result((Output("table", TABLE, PARQUET, {"rows": rows, "columns": columns}),), {"rows": rows})


def group_parts(inputs: Mapping[str, Path]) -> dict[str, dict[str, list[Path]]]:
    """{hour: {kind: files}}, hours in order."""
    hours: dict[str, dict[str, list[Path]]] = defaultdict(lambda: {"predictions": [], "labels": []})
    for slot in sorted(inputs, key=lambda slot: (slot.split("-")[1:2], len(slot), slot)):
        kind, _, rest = slot.partition("-")
        if kind not in ("predictions", "labels") or not rest:
            raise EngineError(
                "bad_part",
                N_("{slot} names no part of observations."),
                slot=slot,
                field=f"inputs/{slot}",
                limit="predictions-HOUR-NUMBER or labels-HOUR-NUMBER",
                hint=N_("Let the plane gather the parts: the page of observations has the form."),
            )
        hours[rest.partition("-")[0]][kind].append(Path(inputs[slot]))
    return dict(sorted(hours.items()))


def iterate_rows(spec: ObservationsSpec, parts: Mapping[str, list[Path]]) -> Iterator[Row]:
    """The rows of one hour that fit, each with its label."""
    labels = read_labels(parts["labels"])
    since, until = pa.scalar(spec.since, INSTANT), pa.scalar(spec.until, INSTANT)
    for batch in iterate_batches(parts["predictions"]):
        at = batch.column("at")
        fits = pc.and_(pc.greater_equal(at, since), pc.less(at, until))
        for row in batch.filter(fits).to_pylist():
            label = labels.get(row["id"])
            if not is_wanted(spec, row) or (spec.labelled_only and label is None):
                continue
            yield build_row(row, label)


def is_wanted(spec: ObservationsSpec, row: Mapping[str, Any]) -> bool:
    return (
        row["shadow"] == spec.shadow
        and (not spec.model or row["model"] == spec.model)
        and (spec.version is None or row["version"] == spec.version)
        and (not spec.variant or row["variant"] == spec.variant)
    )


def build_row(row: Mapping[str, Any], label: tuple[Any, str] | None) -> Row:
    features = json.loads(row["features"]) if row["features"] is not None else None
    meta = {
        "prediction_id": row["id"],
        "predicted_at": row["at"],
        "model_version": f"{row['model']}:{row['version']}",
        "variant": row["variant"],
        "latency_ms": row["latency_ms"],
        "features_digest": row["features_digest"],
        "labelled_at": None if label is None else label[0],
    }
    texts = [row["features"] or "", row["answer"], "" if label is None else label[1]]
    answer, target = json.loads(row["answer"]), label and json.loads(label[1])
    return Row(meta, flatten_features(features), features, answer, target, sum(map(len, texts)))


def read_labels(files: list[Path]) -> dict[str, tuple[Any, str]]:
    return {row["id"]: (row["at"], row["label"]) for batch in iterate_batches(files) for row in batch.to_pylist()}


def iterate_batches(files: list[Path]) -> Iterator[pa.RecordBatch]:
    for path in files:
        with pq.ParquetFile(path) as file:
            yield from file.iter_batches(ROWS_PER_READ)


def write_table(
    spec: ObservationsSpec,
    hours: Mapping[str, dict[str, list[Path]]],
    types: ColumnTypes,
    schema: pa.Schema,
    path: Path,
    report: Report,
    total: int,
) -> None:
    done = size = 0
    group: list[pa.Table] = []
    with pq.ParquetWriter(path, schema, compression="zstd", version="2.6") as writer:
        for batch in iterate_tables(spec, hours, types, schema):
            group.append(batch)
            done, size = done + batch.num_rows, size + batch.nbytes
            if sum(each.num_rows for each in group) >= ROWS_PER_GROUP or size >= BYTES_PER_GROUP:
                writer.write_table(pa.concat_tables(group))
                group.clear()
                size = 0
                report.progress(done, total, "rows", stage="write")
        if group:
            writer.write_table(pa.concat_tables(group))
    report.progress(total, total, "rows", stage="write")


def iterate_tables(
    spec: ObservationsSpec, hours: Mapping[str, dict[str, list[Path]]], types: ColumnTypes, schema: pa.Schema
) -> Iterator[pa.Table]:
    """The rows in batches, which hold fewer rows the wider these are."""
    rows_per_batch = max(1, CELLS_PER_BATCH // len(schema))
    buffer: list[dict[str, Any]] = []
    characters = 0
    for parts in hours.values():
        for row in iterate_rows(spec, parts):
            buffer.append(types.convert(row))
            characters += row.characters
            if len(buffer) >= rows_per_batch or characters >= CHARACTERS_PER_BATCH:
                yield pa.Table.from_pylist(buffer, schema)
                buffer.clear()
                characters = 0
    if buffer:
        yield pa.Table.from_pylist(buffer, schema)
