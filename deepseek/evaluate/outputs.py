"""The three files of an evaluation, and the result that names them."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from deepseek.evaluate.bootstrap import REPLICATES_NAME, REPLICATES_TYPE, SCHEMA
from deepseek.evaluate.document import EVALUATION_NAME, EVALUATION_TYPE, Evaluation
from deepseek.evaluate.measurement import Measurement, SliceResults
from deepseek.evaluate.rows import ROWS_NAME, ROWS_TYPE, write_rows
from deepseek.job import JSON, Output, Report, Result


def write_outputs(
    stage: Path, measured: Measurement, sliced: SliceResults, notes: Sequence[str], **facts: Any
) -> Evaluation:
    """Write the files into `stage` and return the document. `facts`: what was measured, how large and fast."""
    examples, answers, spec = measured.examples, measured.answers, measured.spec
    write_rows(stage / ROWS_NAME, examples, answers)
    document = Evaluation(
        schema="plane/evaluation/v1",
        task=cast(Any, measured.task),
        rows=len(examples.rows),
        left_out=examples.left_out,
        queries=None if examples.query is None else int(examples.query.max()) + 1,
        positive=None if measured.positive is None else answers.classes[measured.positive],
        horizon=examples.horizon if answers.task == "forecast" else None,
        spec=spec.model_dump(mode="json"),
        pairing=measured.pairing,
        replicates=spec.replicates,
        metrics=[series.metric for series in measured.overall],
        slices=sliced.figures,
        calibration=measured.compute_calibration(),
        notes=[*notes, *sliced.notes],
        **facts,
    )
    write_documents(stage, document, sliced.series)
    return document


def write_documents(stage: Path, document: Evaluation, series: Sequence[Mapping[str, Any]]) -> None:
    """Write the evaluation and its replicates."""
    (stage / EVALUATION_NAME).write_text(document.to_json(), encoding="utf-8")
    replicates = {
        "schema": SCHEMA,
        "pairing": document.pairing,
        "count": document.replicates,
        "series": series,
    }
    (stage / REPLICATES_NAME).write_text(json.dumps(replicates, ensure_ascii=False, allow_nan=False) + "\n", "utf-8")


def build_evaluation_result(document: Evaluation, report: Report) -> Result:
    """What a job tells of it: its figures as metrics, its notes as log lines, its files."""
    for metric in document.metrics:
        report.metric(metric.name, metric.value)
    for latency in document.latency:
        report.metric(f"latency_p50_us_batch_{latency.batch}", latency.p50_us)
        report.metric(f"latency_p95_us_batch_{latency.batch}", latency.p95_us)
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
