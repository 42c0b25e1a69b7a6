"""Measure one model on one table: the entry point of the capability."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import numpy as np

from deepseek.evaluate.classes import bin_of, measures_of_classes
from deepseek.evaluate.document import (
    EVALUATION_NAME,
    EVALUATION_TYPE,
    CalibrationBin,
    Evaluation,
    SliceFigures,
)
from deepseek.evaluate.draws import (
    REPLICATES_NAME,
    REPLICATES_TYPE,
    SCHEMA,
    Series,
    pairing_of,
    series_of,
    told_of,
)
from deepseek.evaluate.examples import FEWEST_ROWS, Examples, read_evaluation
from deepseek.evaluate.measures import Blocks, Floats, Measure, Outputs
from deepseek.evaluate.pace import memory, opened, paces
from deepseek.evaluate.ranking import measures_of_queries
from deepseek.evaluate.rows import ROWS_NAME, ROWS_TYPE, write_rows
from deepseek.evaluate.slices import Part, distinct, parts_of
from deepseek.evaluate.spec import EvaluateSpec
from deepseek.evaluate.values import measures_of_values
from deepseek.job import JSON, EngineError, Output, Report, Result, staged
from deepseek.models.evaluate import blocks_of, draws_of
from deepseek.models.manifest import ModelManifest, sha256_of
from deepseek.models.predictor import open_model
from deepseek.models.source import predict_in_batches

SLOTS = ("model", "manifest", "table")
CHUNK = 8192  # rows of one call, so that memory does not grow with the rows
MOST_SLICES = 60
MOST_DRAWS = 2_000_000
"""Slices beyond these, or beyond so many replicates in all, are left out: a gate reads what is kept of each."""


def run(spec: EvaluateSpec, *, inputs: Mapping[str, Path], out: Path, report: Report) -> Result:
    """Measure the model in the slots ``model`` and ``manifest``, in any of its forms, on the table in ``table``.

    Writes ``evaluation.json`` (whose meta is the whole document), ``rows.parquet`` and ``replicates.json`` into the
    folder `out`. Equal inputs and spec give equal bytes of rows and replicates; the evaluation also holds times and
    memory, which are measured.

    Raises EngineError: ``wrong_inputs``, ``model_tampered``, ``positive_unknown``, ``outputs_not_finite``,
    ``relevance_negative``, and what `open_model`, `read_evaluation` and `parts_of` find wrong with a file.
    """
    if set(inputs) != set(SLOTS):
        raise EngineError(
            "wrong_inputs",
            "Evaluating takes a model, its manifest and a table.",
            field="inputs",
            value=", ".join(sorted(inputs)) or "none",
            limit=", ".join(SLOTS),
            hint="Give the two files of a model and the table to measure it on.",
        )
    with staged(out) as stage:
        report.progress(0, None, "rows", stage="read")
        manifest = ModelManifest.read(inputs["manifest"])
        examples = read_evaluation(inputs["table"], manifest, spec)
        predictor, model_bytes = opened(
            lambda: open_model(manifest, inputs["model"]), lambda made: made.predict(examples.features[:1])
        )
        outputs = predict_in_batches(predictor, examples.features, CHUNK, report)
        _require_finite(outputs, examples)
        measured = Measuring(spec, manifest, examples, outputs)
        slices, told, notes = measured.slices(report)
        write_rows(stage / ROWS_NAME, examples, outputs, manifest)
        document = Evaluation(
            schema="plane/evaluation/v1",
            task=cast(Any, measured.task),
            target=manifest.target,
            variant=manifest.variant,
            format=manifest.format,
            model=manifest.file.sha256,
            manifest=sha256_of(inputs["manifest"]),
            table=sha256_of(inputs["table"]),
            rows=len(examples.rows),
            left_out=examples.left_out,
            queries=None if examples.query is None else int(examples.query.max()) + 1,
            positive=None if measured.positive is None else manifest.classes[measured.positive],
            horizon=examples.horizon if manifest.task == "forecast" else None,
            spec=spec.model_dump(mode="json"),
            pairing=measured.pairing,
            replicates=spec.replicates,
            metrics=[one.metric for one in measured.whole],
            slices=slices,
            calibration=measured.calibration(),
            latency=paces(predictor, examples.features, spec, report),
            size_bytes=manifest.file.size,
            memory=memory(model_bytes),
            notes=notes,
        )
        (stage / EVALUATION_NAME).write_text(document.text(), encoding="utf-8")
        kept = {"schema": SCHEMA, "pairing": measured.pairing, "count": spec.replicates, "series": told}
        (stage / REPLICATES_NAME).write_text(json.dumps(kept, ensure_ascii=False, allow_nan=False) + "\n", "utf-8")
    return _result(document, report)


class Measuring:
    """The figures of one model on one table: of all rows, and of some of them by the same draws."""

    def __init__(self, spec: EvaluateSpec, manifest: ModelManifest, examples: Examples, outputs: Outputs) -> None:
        self.spec, self.manifest, self.examples, self.outputs = spec, manifest, examples, outputs
        self.task = "ranking" if spec.group else manifest.task
        self.positive = _positive(spec, manifest)
        query = examples.query
        units = len(examples.rows) if query is None else int(query.max()) + 1
        self.blocks = blocks_of(self.task, units, spec.seed, examples.horizon)  # of each row, or of each query
        self.count = int(self.blocks.max()) + 1
        self.draws = draws_of(self.count, spec.seed, spec.replicates).astype(np.float64)
        drawn = self.blocks if query is None else self.blocks[query]
        self.pairing = pairing_of(examples.rows, examples.target, manifest.classes, drawn, spec.seed, spec.replicates)
        self.method = "block bootstrap" if self.task == "forecast" else "bootstrap"
        self.whole = self.series(np.ones(len(examples.rows), bool))

    def series(self, among: Any) -> list[Series]:
        """The figures of the rows `among` (n,) of bool."""
        measures = self.measures(among)
        return series_of(
            measures, self.draws, confidence=self.spec.confidence, method=self.method, rows=int(among.sum())
        )

    def measures(self, among: Any) -> list[Measure]:
        outputs, target, query = self.outputs[among], self.examples.target[among], self.examples.query
        if query is not None:
            found, numbered = np.unique(query[among], return_inverse=True)
            return measures_of_queries(
                _scores(outputs, self.positive),
                _relevance(target, self.positive),
                numbered,
                self.blocks[found],
                self.count,
                places=list(dict.fromkeys(self.spec.places)),
            )
        blocks: Blocks = self.blocks[among]
        if self.task == "classification":
            return measures_of_classes(
                outputs, target, blocks, self.count, positive=self.positive, bins=self.spec.calibration_bins
            )
        return measures_of_values(outputs, target, blocks, self.count)

    def slices(self, report: Report) -> tuple[list[SliceFigures], list[dict[str, Any]], list[str]]:
        """The figures of each slice, all replicates as they are kept, and what a reader should know."""
        parts: list[Part] = []
        table = self.examples.table.slice(self.spec.first_row)  # rows before it would fill bins that nobody measures
        for place, wanted in enumerate(self.spec.slices):
            parts += parts_of(table, wanted, f"/slices/{place}/column")
        parts = distinct(parts)
        told, made, notes = told_of(self.whole, None), [], []
        if self.examples.left_out:
            notes.append(f"{self.examples.left_out:,} rows lack an input or the target; they are not measured.")
        most = min(MOST_SLICES, MOST_DRAWS // (self.spec.replicates * max(1, len(self.whole))))
        if len(parts) > most:
            notes.append(f"There are {len(parts)} slices; the first {most} are measured.")
        for done, part in enumerate(parts[:most]):
            report.progress(done, len(parts), "slices", stage="slice")
            among = self.members(part)
            rows = int(among.sum())
            series = self.series(among) if rows >= FEWEST_ROWS else []
            told += told_of(series, (part.column, part.value))
            figures = [one.metric for one in series]
            made.append(SliceFigures(column=part.column, value=part.value, rows=rows, metrics=figures))
        return made, told, notes

    def members(self, part: Part) -> Any:
        """Which rows measured are in the slice; a query is in the slice of its first row, whole."""
        among = part.rows[self.examples.rows - self.spec.first_row]
        if self.examples.query is None:
            return among
        _, first = np.unique(self.examples.query, return_index=True)
        return among[first][self.examples.query]

    def calibration(self) -> list[CalibrationBin]:
        """How sure the model was and how often it was right, for each bin that holds a row."""
        if self.task != "classification":
            return []
        largest, bins = self.outputs.max(axis=1).astype(np.float64), self.spec.calibration_bins
        hit, place = self.outputs.argmax(axis=1) == self.examples.target, bin_of(largest, bins)
        return [
            CalibrationBin(
                low=k / bins,
                high=(k + 1) / bins,
                rows=int((place == k).sum()),
                confidence=float(largest[place == k].mean()),
                accuracy=float(hit[place == k].mean()),
            )
            for k in range(bins)
            if (place == k).any()
        ]


def _positive(spec: EvaluateSpec, manifest: ModelManifest) -> int | None:
    """The place of the positive class; None of more than two classes, or of numbers."""
    if manifest.task != "classification" or (len(manifest.classes) != 2 and spec.positive is None):
        if spec.group and manifest.task == "classification":
            raise _positive_unknown(spec, manifest)
        return None
    if spec.positive is None:
        return 1
    if spec.positive not in manifest.classes or (len(manifest.classes) != 2 and not spec.group):
        raise _positive_unknown(spec, manifest)
    return manifest.classes.index(spec.positive)


def _positive_unknown(spec: EvaluateSpec, manifest: ModelManifest) -> EngineError:
    return EngineError(
        "positive_unknown",
        "The positive class must be one of the model's; only of two classes, or for a ranking, is there one.",
        field="/positive",
        value=spec.positive or "none",
        limit=", ".join(manifest.classes[:20]),
        hint="Name a class of the target, or leave the field empty.",
    )


def _scores(outputs: Outputs, positive: int | None) -> Floats:
    return outputs[:, 0 if positive is None else positive].astype(np.float64)


def _relevance(target: Any, positive: int | None) -> Floats:
    if positive is not None:
        return np.asarray(target == positive, np.float64)
    if (target < 0).any():
        raise EngineError(
            "relevance_negative",
            "A relevance below 0 ranks nothing.",
            field="inputs/table",
            value=f"{float(target.min()):g}",
            limit="0 or more",
            hint="Add a constant to the target, or leave the query column out.",
        )
    return np.asarray(target, np.float64)


def _require_finite(outputs: Outputs, examples: Examples) -> None:
    wrong = np.flatnonzero(~np.isfinite(outputs).all(axis=1))
    if wrong.size:
        raise EngineError(
            "outputs_not_finite",
            "The model gives infinite values, or none, for some of the rows.",
            field="inputs/model",
            value=f"data row {int(examples.rows[wrong[0]]) + 1}",
            limit="finite values",
            hint="Train with a lower max_lr, and look for extreme values in the features.",
        )


def _result(document: Evaluation, report: Report) -> Result:
    for metric in document.metrics:
        report.metric(metric.name, metric.value)
    for one in document.latency:
        report.metric(f"latency_p50_us_batch_{one.batch}", one.p50_us)
        report.metric(f"latency_p95_us_batch_{one.batch}", one.p95_us)
    for note in document.notes:
        report.log(note)
    meta = cast("dict[str, JSON]", document.model_dump(mode="json", by_alias=True))
    return Result(
        outputs=(
            Output("evaluation", EVALUATION_NAME, EVALUATION_TYPE, meta),
            Output("rows", ROWS_NAME, ROWS_TYPE, {"rows": document.rows}),
            Output("replicates", REPLICATES_NAME, REPLICATES_TYPE, {"pairing": document.pairing}),
        ),
        summary={
            "task": document.task,
            "variant": document.variant,
            "rows": document.rows,
            "slices": len(document.slices),
            "metrics": {metric.name: metric.value for metric in document.metrics},
        },
    )
