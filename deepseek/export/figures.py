"""How good the TorchScript form is on the held-out rows of its model. No times: equal exports give equal bytes."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from deepseek.export.forms import Forward
from deepseek.models.evaluate import compare_classes, measure, measure_difference
from deepseek.models.figures import FIGURES_NAME, Agreement, Figures
from deepseek.models.heldout import Heldout
from deepseek.models.manifest import ModelManifest
from deepseek.models.source import measure_gap

Floats = npt.NDArray[np.float32]
MAX_VALUES = 1 << 24  # numbers of one call: memory does not grow with the rows


def write_form_figures(
    stage: Path, trained: ModelManifest, form: ModelManifest, heldout: Heldout, network: Forward, forward: Forward
) -> Figures:
    """Write ``figures.json`` of the form: its metrics on `heldout`, and its difference from the trained network."""
    task, target, horizon = form.task, heldout.target, trained.spec.get("horizon")
    ahead = horizon if isinstance(horizon, int) and horizon > 0 else 1
    outputs, expected = predict_rows(forward, heldout), predict_rows(network, heldout)
    largest, relative = measure_gap(outputs, expected)
    figures = Figures(
        schema="plane/figures/v1",
        variant=form.variant,
        rows=len(target),
        metrics=measure(task, outputs, target, horizon=ahead),
        size_bytes=form.file.size,
        size_ratio=trained.file.size / form.file.size,
        agreement=Agreement(
            max_abs_error=largest,
            max_rel_error=relative,
            same_class=compare_classes(outputs, expected) if task == "classification" else None,
            difference=measure_difference(task, outputs, expected, target, horizon=ahead),
        ),
    )
    (stage / FIGURES_NAME).write_text(figures.to_json(), encoding="utf-8")
    return figures


def predict_rows(forward: Forward, heldout: Heldout) -> Floats:
    """Outputs for the held-out rows, a part of them at a time."""
    with torch.no_grad():
        return np.concatenate([forward(part).numpy() for part in iter_parts(heldout)])


def iter_parts(heldout: Heldout) -> Iterator[Tensor]:
    """The features as float32, as many rows at a time as MAX_VALUES allows."""
    features = heldout.features
    rows = max(1, MAX_VALUES // max(1, features[0].size))
    for start in range(0, len(features), rows):
        yield torch.from_numpy(np.ascontiguousarray(features[start : start + rows], dtype=np.float32))
