"""What a trained model of a table does on its held-out rows: drawn, by feature, and where it is most wrong."""

from pathlib import Path

from deepseek.diagnostics.build import (
    build_class_diagnostics,
    build_value_diagnostics,
    write_diagnostics,
    write_samples,
)
from deepseek.diagnostics.importance import Predict, compute_importance
from deepseek.diagnostics.wrong_rows import list_wrong_rows
from deepseek.job import Output
from deepseek.models.evaluate import Outputs
from deepseek.models.heldout import Heldout
from deepseek.train.examples import Examples
from deepseek.train.spec import TrainSpec


def write_table_diagnostics(
    spec: TrainSpec,
    examples: Examples,
    heldout: Heldout,
    outputs: Outputs,
    stage: Path,
    *,
    predict: Predict,
    parameters: int,
) -> tuple[Output, ...]:
    """Write the diagnostics of `outputs`, the model's on the held-out rows, into `stage`; `predict` gives those of
    other rows, through so many `parameters`."""
    importance = compute_importance(
        spec.task,
        predict,
        heldout.features,
        heldout.target,
        examples.names,
        seed=spec.seed,
        parameters=parameters,
    )
    if examples.classes:
        diagnostics = build_class_diagnostics(outputs, heldout.target, examples.classes, spec.target, importance)
    else:
        diagnostics = build_value_diagnostics(spec.task, outputs, heldout.target, spec.target, spec.seed, importance)
    wrong = list_wrong_rows(
        outputs,
        heldout.target,
        heldout.features,
        examples.names,
        examples.classes,
        first=[feature.name for feature in importance.features] if importance else [],
        categories=examples.categories,
    )
    return (*write_diagnostics(diagnostics, stage), write_samples("rows", wrong, stage))
