"""What quantizing and compiling share: the trained model they start from, and how a new form is compared with it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from deepseek.job import EngineError, Report
from deepseek.messages import N_
from deepseek.models.evaluate import compare_classes, measure, measure_difference
from deepseek.models.figures import FIGURES_NAME, Agreement, Figures, Latency
from deepseek.models.heldout import Heldout, read_heldout
from deepseek.models.manifest import (
    FILE_NAMES,
    MANIFEST_NAME,
    Format,
    ModelFile,
    ModelManifest,
    compute_file_sha256,
    require_mlp,
)
from deepseek.models.mlp import MlpNetwork
from deepseek.models.network import load_network
from deepseek.models.predictor import Predictor, TorchPredictor

Floats = npt.NDArray[np.float32]

SLOTS = ("model", "manifest", "heldout")
EAGER = "fp32 eager"
FRESH_ROWS = 256
_NOISE = 0.5  # standard deviations around a held-out row


@dataclass(frozen=True)
class Source:
    """A trained model, the rows it is measured on, and the SHA-256 of each file that was read, by slot."""

    manifest: ModelManifest
    network: MlpNetwork
    heldout: Heldout
    digests: dict[str, str]

    @property
    def predictor(self) -> Predictor:
        """The trained network, run by PyTorch as it stands."""
        return TorchPredictor(self.manifest, self.network)

    @property
    def horizon(self) -> int:
        """The rows that a forecast looks ahead, as its training was told; 1 where that is not known."""
        horizon = self.manifest.spec.get("horizon")
        return horizon if isinstance(horizon, int) and horizon > 0 else 1

    def generate_rows(self, seed: int) -> Floats:
        """256 rows that no file holds: held-out rows, each number moved by half a standard deviation at random, and
        each category drawn anew."""
        random, rows = np.random.default_rng((seed, 3)), self.heldout.features
        picked = rows[random.integers(len(rows), size=FRESH_ROWS)].astype(np.float64)
        spread = rows.std(axis=0, dtype=np.float64)
        moved = picked + _NOISE * spread * random.standard_normal(picked.shape)
        for place, codes in self.manifest.list_codes().items():
            moved[:, place] = random.integers(len(codes) + 1, size=FRESH_ROWS)
        return np.asarray(moved, dtype=np.float32)

    def take_batch(self, rows: int) -> Floats:
        """The first `rows` held-out rows, from the start again where there are fewer."""
        return np.resize(self.heldout.features, (rows, *self.manifest.architecture.input_shape))


def read_source(inputs: Mapping[str, Path], verb: str) -> Source:
    """The trained model in the slots ``model``, ``manifest`` and ``heldout``; `verb` is for the error.

    Raises EngineError: ``wrong_inputs``, and whatever is wrong with a file, as `load_network` and `read_heldout` say.
    """
    if set(inputs) != set(SLOTS):
        raise EngineError(
            "wrong_inputs",
            "{verb} takes a trained model, its manifest, and held-out rows.",
            verb=verb,
            field="inputs",
            value=", ".join(sorted(inputs)) or "none",
            limit=", ".join(SLOTS),
            hint=N_("Give the three files that `deepseek train` wrote."),
        )
    manifest = ModelManifest.read(inputs["manifest"])
    require_mlp(manifest, verb)
    network = cast(MlpNetwork, load_network(manifest, inputs["model"]))
    heldout = read_heldout(inputs["heldout"], manifest)
    return Source(manifest, network, heldout, {slot: compute_file_sha256(path) for slot, path in inputs.items()})


def predict_in_batches(predictor: Predictor, rows: Floats, batch: int, report: Report) -> Floats:
    """Outputs of `rows`, `batch` of them in a call: a form may depend on what else is in its batch."""
    outputs = []
    for start in range(0, len(rows), batch):
        report.progress(start, len(rows), "rows", stage="compare")
        outputs.append(predictor.predict(rows[start : start + batch]))
    report.progress(len(rows), len(rows), "rows", stage="compare")
    return np.concatenate(outputs)


def measure_gap(outputs: Floats, expected: Floats) -> tuple[float, float]:
    """The largest difference between two outputs of one shape, and the same relative to the largest of `expected`.

    Infinite where either holds a value that is not finite.
    """
    if not (np.isfinite(outputs).all() and np.isfinite(expected).all()):
        return float("inf"), float("inf")
    largest = float(np.abs(outputs.astype(np.float64) - expected).max())
    return largest, largest / max(float(np.abs(expected).max()), float(np.finfo(np.float32).tiny))


def require_equal(
    predict: Callable[[Floats], Floats], source: Source, *, code: str, what: str, tolerance: float, seed: int
) -> float:
    """Compare a form with the network on the held-out rows and on fresh ones; returns the larger relative difference.

    Raises EngineError `code` where it is over `tolerance`, or where a value is not finite.
    """
    worst = 0.0
    for rows, rows_name in ((source.heldout.features, "held-out"), (source.generate_rows(seed), "fresh")):
        difference = measure_gap(predict(rows), source.predictor.predict(rows))[1]
        worst = max(worst, difference)
        if difference > tolerance:
            raise EngineError(
                code,
                "{what} gives other outputs than PyTorch on the {named} rows.",
                what=what,
                named=rows_name,
                field="inputs/model",
                value=f"a relative difference of {difference:.3g}",
                limit=f"{tolerance:g}",
                hint=N_(
                    "Look for extreme weights or features; this may also be a defect of the compiler or its version."
                ),
            )
    return worst


def write_form(
    stage: Path, source: Source, *, variant: str, format_: Format, spec: Mapping[str, Any], machine: Mapping[str, Any]
) -> ModelManifest:
    """Write ``model.json`` for the model file that lies in `stage` already."""
    path = stage / FILE_NAMES[format_]
    manifest = source.manifest.model_copy(
        update={
            "variant": variant,
            "format": format_,
            "file": ModelFile(name=path.name, sha256=compute_file_sha256(path), size=path.stat().st_size),
            "parent": source.digests["manifest"],
            "inputs": source.digests,
            "spec": dict(spec),
            "machine": dict(machine),
        }
    )
    (stage / MANIFEST_NAME).write_text(manifest.to_json(), encoding="utf-8", newline="")
    return manifest


def write_figures(
    stage: Path,
    source: Source,
    manifest: ModelManifest,
    outputs: Floats,
    *,
    latency: Sequence[Latency],
    notes: Sequence[str],
    confidence: float,
    seed: int,
) -> Figures:
    """Write ``figures.json``: how good the new form is on the held-out rows, and how far from the trained one."""
    task, target = manifest.task, source.heldout.target
    expected = source.predictor.predict(source.heldout.features)
    largest, relative = measure_gap(outputs, expected)
    figures = Figures(
        schema="plane/figures/v1",
        variant=manifest.variant,
        rows=len(target),
        metrics=measure(task, outputs, target, confidence=confidence, seed=seed, horizon=source.horizon),
        size_bytes=manifest.file.size,
        size_ratio=source.manifest.file.size / manifest.file.size,
        latency=list(latency),
        agreement=Agreement(
            max_abs_error=largest,
            max_rel_error=relative,
            same_class=compare_classes(outputs, expected, confidence=confidence) if task == "classification" else None,
            difference=measure_difference(
                task, outputs, expected, target, confidence=confidence, seed=seed, horizon=source.horizon
            ),
        ),
        notes=list(notes),
    )
    (stage / FIGURES_NAME).write_text(figures.to_json(), encoding="utf-8")
    return figures
