"""What quantizing and compiling share: the trained model they start from, and how a new form is compared with it."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from deepseek.job import EngineError, Report
from deepseek.messages import N_
from deepseek.models.evaluate import compare_classes, measure, measure_difference
from deepseek.models.figures import FIGURES_NAME, Agreement, Figures, Latency, Metric
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
from deepseek.models.network import load_network
from deepseek.models.predictor import open_model
from deepseek.models.predictor_base import Call
from deepseek.models.torch_predictor import TorchPredictor
from deepseek.models.trainable import Trainable

Floats = npt.NDArray[np.float32]

SLOTS = ("model", "manifest", "heldout")
EAGER = "fp32 eager"
FRESH_ROWS, _FRESH_VALUES = 256, 1 << 22  # rows, and the numbers in them: an image is a row of many
_NOISE = 0.5  # standard deviations around a held-out row
FAMILIES = {"entities": "deepseek.entities.source:read_entities_source"}
"""Architecture type -> "module:function" of its source, where rows are no numbers; it takes what `Source` takes."""


class Form(Protocol):
    """A network in some form: rows as the network takes them in, outputs out."""

    def predict(self, features: Any) -> Floats:
        """Outputs of the rows."""

    def bind(self, features: Any) -> Call:
        """A call on just these rows, with nothing around it."""


@dataclass(frozen=True)
class Source:
    """A trained model, the rows it is measured on, and the SHA-256 of each file that was read, by slot."""

    manifest: ModelManifest
    network: Trainable
    heldout: Heldout
    digests: dict[str, str]

    @property
    def predictor(self) -> Form:
        """The trained network, run by PyTorch as it stands."""
        return TorchPredictor(self.manifest, self.network)

    @property
    def rows(self) -> npt.NDArray[Any]:
        """The held-out rows, as the network takes them."""
        return self.heldout.features

    @property
    def count(self) -> int:
        """Of the held-out examples."""
        return len(self.heldout.target)

    @cached_property
    def expected(self) -> Floats:
        """What the trained network gives for the held-out rows; of images a few at a time, for memory's sake."""
        size = max(1, _FRESH_VALUES // math.prod(self.rows.shape[1:]))
        parts = [self.rows[start : start + size] for start in range(0, len(self.rows), size)]
        return np.concatenate([self.predictor.predict(part) for part in parts])

    @property
    def horizon(self) -> int:
        """The rows that a forecast looks ahead, as its training was told; 1 where that is not known."""
        horizon = self.manifest.spec.get("horizon")
        return horizon if isinstance(horizon, int) and horizon > 0 else 1

    def open_form(self, manifest: ModelManifest, path: Path) -> Form:
        """The form in the file at `path`, as a user would open it."""
        return open_model(manifest, path)

    def generate_rows(self, seed: int) -> npt.NDArray[Any]:
        """Up to 256 rows that no file holds, as `generate_rows` draws them."""
        return generate_rows(self.manifest, self.heldout, seed)

    def take_batch(self, rows: int) -> npt.NDArray[Any]:
        """The first `rows` held-out rows, from the start again where there are fewer."""
        retained = np.resize(self.heldout.features, (rows, *self.manifest.architecture.input_shape))
        return np.ascontiguousarray(retained, dtype=np.float32)

    def measure(self, outputs: Floats, *, confidence: float, seed: int) -> list[Metric]:
        """How good outputs for the held-out rows are."""
        task, target = self.manifest.task, self.heldout.target
        return measure(task, outputs, target, confidence=confidence, seed=seed, horizon=self.horizon)

    def compare(self, outputs: Floats, *, confidence: float, seed: int) -> Agreement:
        """How far outputs for the held-out rows are from those of the trained network."""
        task, expected = self.manifest.task, self.expected
        largest, relative = measure_gap(outputs, expected)
        return Agreement(
            max_abs_error=largest,
            max_rel_error=relative,
            same_class=compare_classes(outputs, expected, confidence=confidence) if task == "classification" else None,
            difference=measure_difference(
                task, outputs, expected, self.heldout.target, confidence=confidence, seed=seed, horizon=self.horizon
            ),
        )


def generate_rows(manifest: ModelManifest, heldout: Heldout, seed: int) -> Floats:
    """Up to 256 rows that no file holds: held-out rows, each number moved by half a standard deviation at random, and
    each category drawn anew."""
    random, rows = np.random.default_rng((seed, 3)), heldout.features
    count = max(1, min(FRESH_ROWS, _FRESH_VALUES // math.prod(rows.shape[1:])))
    picked = rows[random.integers(len(rows), size=count)].astype(np.float64)
    spread = rows.std(axis=0, dtype=np.float64)
    moved = picked + _NOISE * spread * random.standard_normal(picked.shape)
    for place, codes in manifest.list_codes().items():
        moved[:, place] = random.integers(len(codes) + 1, size=count)
    if rows.dtype == np.uint8:
        np.clip(moved, 0, 255, out=moved)
    return np.asarray(moved, dtype=np.float32)


def read_source(inputs: Mapping[str, Path], verb: str, *, only_mlp: bool = True, length: int = 0) -> Source:
    """The trained model in the slots ``model``, ``manifest`` and ``heldout``; `verb` is for the error.

    `length`: tokens of each row of a model of texts; 0: as many as it sees at once.

    Raises EngineError: ``wrong_inputs``, ``family_unsupported``, and whatever is wrong with a file, as `load_network`
    and `read_heldout` say.
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
    if only_mlp:
        require_mlp(manifest, verb)
    network = load_network(manifest, inputs["model"])
    digests = {slot: compute_file_sha256(path) for slot, path in inputs.items()}
    if manifest.architecture.type in FAMILIES:
        module, _, name = FAMILIES[manifest.architecture.type].partition(":")
        source: Source = getattr(import_module(module), name)(manifest, network, inputs, digests, length)
        return source
    return Source(manifest, network, read_heldout(inputs["heldout"], manifest), digests)


def predict_in_batches(predictor: Form, rows: npt.NDArray[Any], batch: int, report: Report) -> Floats:
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
    predict: Callable[[Any], Floats], source: Source, *, code: str, what: str, tolerance: float, seed: int
) -> float:
    """Compare a form with the network on the held-out rows and on fresh ones; returns the larger relative difference.

    Raises EngineError `code` where it is over `tolerance`, or where a value is not finite.
    """
    worst = 0.0
    fresh = source.generate_rows(seed)
    pairs = (("held-out", source.rows, source.expected), ("fresh", fresh, source.predictor.predict(fresh)))
    for rows_name, rows, expected in pairs:
        difference = measure_gap(predict(rows), expected)[1]
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
    figures = Figures(
        schema="plane/figures/v1",
        variant=manifest.variant,
        rows=source.count,
        metrics=source.measure(outputs, confidence=confidence, seed=seed),
        size_bytes=manifest.file.size,
        size_ratio=source.manifest.file.size / manifest.file.size,
        latency=list(latency),
        agreement=source.compare(outputs, confidence=confidence, seed=seed),
        notes=list(notes),
    )
    (stage / FIGURES_NAME).write_text(figures.to_json(), encoding="utf-8")
    return figures
