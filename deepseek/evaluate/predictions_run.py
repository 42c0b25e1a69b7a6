"""Measure predictions that were made elsewhere on one table: the model that made them is neither opened nor run."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from deepseek.evaluate.examples import Examples, index_queries, refuse_group, require_enough, select_measured_rows
from deepseek.evaluate.measurement import Answers, Measurement
from deepseek.evaluate.measures import Target
from deepseek.evaluate.missing_predictions import require_predictions
from deepseek.evaluate.outputs import build_evaluation_result, write_outputs
from deepseek.evaluate.predictions import (
    build_missing_predictions_error,
    is_text,
    parse_classes,
    parse_values,
    read_predictions,
)
from deepseek.evaluate.spec import PredictionsSpec
from deepseek.job import EngineError, Report, Result, stage_outputs
from deepseek.messages import N_, Message
from deepseek.models.manifest import compute_file_sha256
from deepseek.tables.parts import compute_table_sha256
from deepseek.tables.sources import read_whole_table
from deepseek.train.columns import read_labels, read_target
from deepseek.train.spec import TrainSpec

SLOTS = ("predictions", "table")
VARIANT = "predictions"


def run(spec: PredictionsSpec, *, inputs: Mapping[str, Path], out: Path, report: Report) -> Result:
    """Measure the predictions in the slot ``predictions`` against the target in ``table``, by the measures, draws and
    slices of `deepseek.evaluate.run`: on the same rows the two pair. Equal inputs and spec give equal bytes.

    Writes ``evaluation.json``, ``rows.parquet`` and ``replicates.json`` into the folder `out`.

    Raises EngineError: ``wrong_inputs``, ``horizon_unknown``, ``horizon_not_taken``, ``group_not_taken``,
    ``too_many_missing``, ``rows_too_few``, and what `read_predictions`, `parse_classes`, `parse_values`,
    `require_predictions` and `Measuring` find.
    """
    if set(inputs) != set(SLOTS):
        raise EngineError(
            "wrong_inputs",
            "This takes predictions and the table that they are of.",
            field="inputs",
            value=", ".join(sorted(inputs)) or "none",
            limit=", ".join(SLOTS),
            hint=N_("Give the two tables."),
        )
    _check_asked(spec)
    with stage_outputs(out) as stage:
        report.progress(0, None, "rows", stage="read")
        answers, examples = _read(spec, inputs)
        measured = Measurement(spec, answers, examples)
        document = write_outputs(
            stage,
            measured,
            measured.measure_slices(report),
            _list_notes(spec, answers, examples),
            target=spec.target,
            variant=VARIANT,
            format=VARIANT,
            predictions=compute_file_sha256(inputs["predictions"]),
            table=compute_table_sha256(inputs["table"]),
        )
    return build_evaluation_result(document, report)


def _check_asked(spec: PredictionsSpec) -> None:
    """A forecast has a horizon and no queries; nothing else has a horizon."""
    if spec.task == "forecast":
        refuse_group(spec)
    if (spec.task == "forecast") == (spec.horizon is not None):
        return
    if spec.task == "forecast":
        raise EngineError(
            "horizon_unknown",
            "Predictions do not say how far the forecast looks ahead.",
            field="/horizon",
            value="none",
            limit="a whole number of rows",
            hint=N_("Give the number of rows between what is known and what is foretold."),
        )
    raise EngineError(
        "horizon_not_taken",
        "A {task} looks ahead of nothing.",
        task=spec.task,
        field="/horizon",
        value=str(spec.horizon),
        limit="none",
        hint=N_("Leave the horizon out."),
    )


def _read(spec: PredictionsSpec, inputs: Mapping[str, Path]) -> tuple[Answers, Examples]:
    table = read_whole_table(inputs["table"])
    target_spec = TrainSpec(task=spec.task, target=spec.target)
    target: Target
    scores = spec.task == "classification" and spec.group is not None  # a ranking is of scores, whatever is relevant
    if spec.task == "classification":
        labels = read_labels(table, target_spec)
        kind = table.column(spec.target).type
        prediction_table = read_predictions(inputs["predictions"], table.num_rows, texts=is_text(kind) and not scores)
        predictions = (
            replace(parse_values(prediction_table), classes=labels.names)
            if scores
            else parse_classes(prediction_table, labels, kind)
        )
        place = {name: at for at, name in enumerate(predictions.classes)}
        target = np.array([*(place.get(name, -1) for name in labels.names), -1], np.int64)[labels.codes]
        has_target = target >= 0
    else:
        target = read_target(table, target_spec)
        predictions = parse_values(read_predictions(inputs["predictions"], table.num_rows))
        has_target = ~np.isnan(target)
    requested = np.arange(table.num_rows) >= spec.first_row
    query = index_queries(table, spec.group) if spec.group else None
    if query is not None:
        has_target &= query >= 0
    series = target if spec.task == "forecast" else None
    require_predictions(has_target & requested, predictions.complete, table, spec.target, series)
    rows = select_measured_rows(has_target & predictions.complete, requested, build_missing_predictions_error)
    require_enough(len(rows))
    query_index = None if query is None else np.unique(query[rows], return_inverse=True)[1].astype(np.int64)
    examples = Examples(
        table,
        np.empty((len(rows), 0), np.float32),
        target[rows],
        rows,
        query_index,
        int(requested.sum()) - len(rows),
        spec.horizon or 1,
    )
    outputs, guess = (None if answer is None else answer[rows] for answer in (predictions.outputs, predictions.guess))
    return Answers(spec.task, predictions.classes, outputs, guess, scores), examples


def _list_notes(spec: PredictionsSpec, answers: Answers, examples: Examples) -> list[str]:
    notes: list[str] = [Message("The model was not run: latency, throughput, size and memory are not measured.")]
    if examples.left_out:
        notes.append(
            Message(
                "{left_out:,} rows lack a prediction or the target; they are not measured.", left_out=examples.left_out
            )
        )
    if spec.task != "classification" or spec.group:
        return notes
    if answers.shares is None:
        notes.append(Message("No probabilities were given: auc, log_loss, brier and ece are not measured."))
    elif answers.guess is not None and (differing := int((answers.shares.argmax(axis=1) != answers.guess).sum())):
        notes.append(
            Message(
                "{other:,} predictions name another class than the most probable one; accuracy, "
                "precision, recall and F1 are of the class named.",
                other=differing,
            )
        )
    return notes
