"""Predict for every row of a table: the entry point of the capability. Memory does not grow with the rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from deepseek.clean.execution import write_parquet
from deepseek.job import JSON, EngineError, Output, Report, Result, stage_outputs
from deepseek.messages import N_, Message
from deepseek.models.manifest import ModelManifest, require_mlp
from deepseek.models.predictor import open_model
from deepseek.partitions.nodes.job_carrier import is_over_nodes
from deepseek.partitions.outputs import TABLE_TYPE, PartFile, publish_parts
from deepseek.predict.batches import PredictedBatches, TableModel
from deepseek.predict.partitioned import predict_partitions
from deepseek.predict.spec import PredictSpec
from deepseek.tables.sources import open_table

SLOTS = ("model", "manifest", "table")


@dataclass(frozen=True)
class PredictedTable:
    """What was written: the files of the table, and how many of its rows have no prediction."""

    parts: Sequence[PartFile]
    schema: pa.Schema
    incomplete: int

    @property
    def rows(self) -> int:
        return sum(part.rows for part in self.parts)


def run(spec: PredictSpec, *, inputs: Mapping[str, Path], out: Path, report: Report) -> Result:
    """Predict with the model in the slots ``model`` and ``manifest`` for every row of the table in ``table``.

    The table is a file, or a folder of Parquet files of one schema. Writes ``table.parquet`` into the folder `out`, or
    the folder ``table`` of parts where the input has parts or `spec` asks for them: the columns to keep, in the order
    of the table, then the prediction; a class of a classification, a number of a regression, of a forecast the value
    that lies the trained horizon ahead of the row. A row that lacks an input has no prediction.

    Raises EngineError: ``wrong_inputs``, ``model_tampered``, ``family_unsupported`` for a model that takes no tables,
    ``unknown_column``, ``column_not_numeric``, ``column_exists``, ``row_incomplete``, ``outputs_not_finite``, and what
    `open_table` and `partition_parquet` find wrong with the files.
    """
    if set(inputs) != set(SLOTS):
        raise EngineError(
            "wrong_inputs",
            "Predicting takes a model, its manifest and a table.",
            field="inputs",
            value=", ".join(sorted(inputs)) or "none",
            limit=", ".join(SLOTS),
            hint=N_("Give the two files of a model and the table to predict for."),
        )
    with stage_outputs(out) as stage:
        report.progress(0, None, "rows", stage="read")
        manifest = ModelManifest.read(inputs["manifest"])
        require_mlp(manifest, "predict")
        is_shared = spec.processes > 1 or spec.cluster or is_over_nodes()
        if is_shared or spec.partitions is not None or inputs["table"].is_dir():
            predicted = _predict_in_partitions(spec, manifest, inputs, stage, report)
        else:
            predicted = _predict_in_one_piece(spec, manifest, inputs, stage, report)
        report.log(
            Message(
                "predicted {rows:,} rows, {incomplete:,} of which lack an input",
                rows=predicted.rows,
                incomplete=predicted.incomplete,
            )
        )
        report.metric("rows", predicted.rows)
        report.metric("incomplete", predicted.incomplete)
    columns: list[JSON] = [{"name": field.name, "dtype": str(field.type)} for field in predicted.schema]
    outputs = tuple(
        Output(part.slot, part.name, TABLE_TYPE, {"rows": part.rows, "columns": columns, "origins": "kept"})
        for part in predicted.parts
    )
    summary: dict[str, JSON] = {"rows": predicted.rows, "incomplete": predicted.incomplete, "warnings": []}
    return Result(outputs=outputs, summary=summary)


def _predict_in_one_piece(
    spec: PredictSpec, manifest: ModelManifest, inputs: Mapping[str, Path], stage: Path, report: Report
) -> PredictedTable:
    source = open_table(inputs["table"], spec.csv, stage)
    for note in source.notes:
        report.log(note, level="warning")
    model = TableModel(open_model(manifest, inputs["model"]), manifest, source.batches.schema)
    predicted = PredictedBatches(source.batches, model, spec)
    total = source.rows

    def advance(done: int) -> None:
        report.progress(done, total, "rows", stage="predict")

    written = write_parquet(predicted, stage / "table.parquet", advance)
    part = PartFile("table", "table.parquet", written.rows)
    return PredictedTable([part], predicted.schema, predicted.incomplete)


def _predict_in_partitions(
    spec: PredictSpec, manifest: ModelManifest, inputs: Mapping[str, Path], stage: Path, report: Report
) -> PredictedTable:
    is_folder = inputs["table"].is_dir()
    with predict_partitions(spec, manifest, inputs, stage, report) as (parts, schema):
        paths = [(part.path, part.rows) for part in parts]
        files = publish_parts(paths, schema, stage, in_parts=is_folder or spec.partitions is not None)
    return PredictedTable(files, schema, sum(part.incomplete for part in parts))
