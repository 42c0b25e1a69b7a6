"""The diagnostics of a model from its outputs on held-out rows, and the files that they become."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from deepseek.diagnostics.classes import build_confusion, build_curves, compute_mean_auc
from deepseek.diagnostics.document import DIAGNOSTICS_NAME, DIAGNOSTICS_TYPE, Diagnostics, Importance
from deepseek.diagnostics.plots import PLOT_TYPE, PLOTS, draw_plots
from deepseek.diagnostics.samples import SAMPLES_NAME, SAMPLES_TYPE, serialize_samples
from deepseek.diagnostics.values import build_residuals, build_scatter
from deepseek.evaluate.classes import compute_calibration_bins
from deepseek.job import Output
from deepseek.models.evaluate import Outputs, Target

BINS = 10  # of calibration


def build_class_diagnostics(
    shares: Outputs, target: Target, labels: Sequence[str], name: str, importance: Importance | None = None
) -> Diagnostics:
    """Of a classification: class shares (n, C), places of the right classes (n,), and the name of the target."""
    curves, left_out = build_curves(shares, target, labels)
    return Diagnostics(
        schema="plane/diagnostics/v1",
        task="classification",
        target=name,
        rows=len(target),
        auc=compute_mean_auc(shares, target),
        curves=curves,
        curves_left_out=left_out,
        confusion=build_confusion(shares.argmax(axis=1), target, labels),
        calibration=compute_calibration_bins(shares, target, BINS),
        importance=importance,
    )


def build_value_diagnostics(
    task: str, outputs: Outputs, target: Target, name: str, seed: int, importance: Importance | None = None
) -> Diagnostics:
    """Of a regression or forecast: values (n, 1) and targets (n,)."""
    predicted, actual = outputs[:, 0].astype(np.float64), target.astype(np.float64)
    return Diagnostics.model_validate(
        {
            "schema": "plane/diagnostics/v1",
            "task": task,
            "target": name,
            "rows": len(actual),
            "scatter": build_scatter(predicted, actual, seed),
            "residuals": build_residuals(predicted, actual),
            "importance": importance,
        }
    )


def write_diagnostics(diagnostics: Diagnostics, stage: Path) -> tuple[Output, ...]:
    """Write the document and its drawings into the folder `stage`; the outputs that they are."""
    (stage / DIAGNOSTICS_NAME).write_text(diagnostics.to_json(), encoding="utf-8")
    outputs = [Output("diagnostics", DIAGNOSTICS_NAME, DIAGNOSTICS_TYPE)]
    (stage / PLOTS).mkdir()
    for name, drawing in draw_plots(diagnostics).items():
        path = f"{PLOTS}/{name}"
        (stage / path).write_text(drawing, encoding="utf-8")
        outputs.append(Output(path, path, PLOT_TYPE))  # as a script's outputs: the slot is the path
    return tuple(outputs)


def write_samples(kind: str, samples: Sequence[Mapping[str, Any]], stage: Path) -> Output:
    """Write the examples of a kind (deepseek/diagnostics/samples.py) into the folder `stage`."""
    (stage / SAMPLES_NAME).write_text(serialize_samples(kind, samples), encoding="utf-8")
    return Output("samples", SAMPLES_NAME, SAMPLES_TYPE, {"kind": kind})
