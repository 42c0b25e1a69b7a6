"""Measure predictions that were made elsewhere on one table: the model that made them is neither opened nor run."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from deepseek.evaluate.examples import Examples, measured_rows, queries_of, refuse_group, require_enough
from deepseek.evaluate.measurement import Answers, Measuring
from deepseek.evaluate.measures import Target
from deepseek.evaluate.missing_predictions import require_predictions
from deepseek.evaluate.outputs import result_of, write_outputs
from deepseek.evaluate.predictions import classes_of, is_text, predictions_missing, read_predictions, values_of
from deepseek.evaluate.spec import PredictionsSpec
from deepseek.job import EngineError, Report, Result, staged
from deepseek.messages import N_, Message
from deepseek.models.manifest import sha256_of
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
    ``too_many_missing``, ``rows_too_few``, and what `read_predictions`, `classes_of`, `values_of`,
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
    with staged(out) as stage:
        report.progress(0, None, "rows", stage="read")
        answers, examples = _read(spec, inputs)
        measured = Measuring(spec, answers, examples)
        document = write_outputs(
            stage,
            measured,
            measured.slices(report),
            _notes(spec, answers, examples),
            target=spec.target,
            variant=VARIANT,
            format=VARIANT,
            predictions=sha256_of(inputs["predictions"]),
            table=sha256_of(inputs["table"]),
        )
    return result_of(document, report)


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
    asked = TrainSpec(task=spec.task, target=spec.target)
    target: Target
    scores = spec.task == "classification" and spec.group is not None  # a ranking is of scores, whatever is relevant
    if spec.task == "classification":
        labels = read_labels(table, asked)
        kind = table.column(spec.target).type
        given = read_predictions(inputs["predictions"], table.num_rows, texts=is_text(kind) and not scores)
        found = replace(values_of(given), classes=labels.names) if scores else classes_of(given, labels, kind)
        place = {name: at for at, name in enumerate(found.classes)}
        target = np.array([*(place.get(name, -1) for name in labels.names), -1], np.int64)[labels.codes]
        known = target >= 0
    else:
        target = read_target(table, asked)
        found = values_of(read_predictions(inputs["predictions"], table.num_rows))
        known = ~np.isnan(target)
    wanted = np.arange(table.num_rows) >= spec.first_row
    query = queries_of(table, spec.group) if spec.group else None
    if query is not None:
        known &= query >= 0
    series = target if spec.task == "forecast" else None
    require_predictions(known & wanted, found.there, table, spec.target, series)
    rows = measured_rows(known & found.there, wanted, predictions_missing)
    require_enough(len(rows))
    kept = None if query is None else np.unique(query[rows], return_inverse=True)[1].astype(np.int64)
    examples = Examples(
        table,
        np.empty((len(rows), 0), np.float32),
        target[rows],
        rows,
        kept,
        int(wanted.sum()) - len(rows),
        spec.horizon or 1,
    )
    outputs, guess = (None if one is None else one[rows] for one in (found.outputs, found.guess))
    return Answers(spec.task, found.classes, outputs, guess, scores), examples


def _notes(spec: PredictionsSpec, answers: Answers, examples: Examples) -> list[str]:
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
    elif answers.guess is not None and (other := int((answers.shares.argmax(axis=1) != answers.guess).sum())):
        notes.append(
            Message(
                "{other:,} predictions name another class than the most probable one; accuracy, "
                "precision, recall and F1 are of the class named.",
                other=other,
            )
        )
    return notes
