"""Train a model on images: the entry point of the capability."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import torch

from deepseek.diagnostics.build import build_class_diagnostics, write_diagnostics
from deepseek.images.examples import ImageExamples, read_examples
from deepseek.images.learner import ImageLearner
from deepseek.images.network import ImageNetwork, calibrate_statistics
from deepseek.images.samples import SAMPLES_NAME, SAMPLES_TYPE, write_samples
from deepseek.images.spec import IMAGES, WEIGHTS, ImageSpec
from deepseek.images.weights import load_weights, read_weights
from deepseek.job import EngineError, Output, Report, Result
from deepseek.messages import N_, Message
from deepseek.models.evaluate import Outputs, build_share_metric, measure, measure_difference
from deepseek.models.figures import FIGURES_NAME, FIGURES_TYPE, Baseline, ClassFigures, Figures, Metric
from deepseek.models.heldout import HELDOUT_NAME, HELDOUT_TYPE, Heldout, write_heldout
from deepseek.models.manifest import (
    MANIFEST_NAME,
    MANIFEST_TYPE,
    MEDIA_TYPES,
    ImageArchitecture,
    ModelManifest,
    compute_file_sha256,
)
from deepseek.models.network import save_network
from deepseek.train.device import derive_seed
from deepseek.train.session import Outcome, Prepared, run_training

TASK, TARGET, FEATURES = "classification", "label", ["image"]
BASELINE = "most frequent class"
MOST_HELDOUT_BYTES = 64 << 20
"""Of the held-out images so many are kept beside the model, at equal distances; the figures are of all."""
MOST_LETTERS = 500  # of a class in the diagnostics: the name of a folder may have more
_CHUNK = 64  # images computed at once


def run(spec: ImageSpec, *, inputs: Mapping[str, Path], out: Path, report: Report) -> Result:
    """Train on the folder in the slot ``images`` and write the model into the folder `out`.

    Slot ``weights``: a safetensors file to begin from, perhaps. Outputs ``model``, ``manifest``, ``figures``,
    ``heldout``, ``diagnostics``, ``samples`` and drawings below ``plots/``. Ranks, checkpoints and what is left behind
    by a failure: as `run_training` says. Raises EngineError for whatever is wrong with the images, the weights or the
    spec, and for a loss that is not finite.
    """
    return run_training(
        spec,
        entry="deepseek.images.run:run",
        prepare=_prepare,
        write=_write,
        inputs=inputs,
        out=out,
        report=report,
    )


@dataclass(frozen=True)
class PreparedImages(Prepared[ImageLearner]):
    """What a folder holds, as well as what learns from it."""

    examples: ImageExamples
    architecture: ImageArchitecture


def _prepare(spec: ImageSpec, inputs: Mapping[str, Path], report: Report) -> PreparedImages:
    _require_inputs(inputs)
    tensors = read_weights(inputs[WEIGHTS]) if WEIGHTS in inputs else None
    report.progress(0, None, "images", stage="read")
    examples = read_examples(inputs[IMAGES], spec, report)
    architecture = build_architecture(spec, len(examples.classes))
    torch.manual_seed(derive_seed(spec.seed, "weights"))
    network = ImageNetwork(architecture)
    digests = {IMAGES: examples.digest}
    if tensors is None:
        draw = np.random.default_rng(derive_seed(spec.seed, "statistics"))
        first = draw.permutation(examples.parts.training)[:_CHUNK]
        calibrate_statistics(network, torch.from_numpy(examples.pixels[first]).float())
    else:
        digests[WEIGHTS] = compute_file_sha256(inputs[WEIGHTS])
        fits = load_weights(network, tensors)
        report.log("begins from the weights given" + ("" if fits else "; its last layer is fresh, for other classes"))
    warnings = _log_examples(examples, report)
    return PreparedImages(ImageLearner(spec, examples, network), digests, warnings, examples, architecture)


def build_architecture(spec: ImageSpec, classes: int) -> ImageArchitecture:
    """The network that `spec` asks for, for so many classes."""
    return ImageArchitecture(
        backbone=spec.backbone, height=spec.height, width=spec.width, outputs=classes, dropout=spec.dropout
    )


def predict(network: ImageNetwork, pixels: npt.NDArray[np.uint8], rows: npt.NDArray[np.int64]) -> Outputs:
    """Outputs (n, C) for the images `rows` of `pixels`, in chunks."""
    with torch.no_grad():
        chunks = [
            network(torch.from_numpy(pixels[rows[start : start + _CHUNK]]).float())
            for start in range(0, len(rows), _CHUNK)
        ]
    return cast(Outputs, torch.cat(chunks).numpy())


def _require_inputs(inputs: Mapping[str, Path]) -> None:
    if IMAGES in inputs and not set(inputs) - {IMAGES, WEIGHTS, "checkpoint"}:
        return
    raise EngineError(
        "wrong_inputs",
        "Training takes a folder of images, perhaps weights, and perhaps the checkpoint of an earlier attempt.",
        field="inputs",
        value=", ".join(sorted(inputs)) or "none",
        limit="images, weights, checkpoint",
        hint=N_("Give a folder with a folder for each class, or with a manifest.csv of path and label."),
    )


def _log_examples(examples: ImageExamples, report: Report) -> list[str]:
    parts = examples.parts
    sizes = len(parts.training), len(parts.validation), len(parts.test)
    report.progress(sum(sizes), sum(sizes), "images", stage="read")
    report.log(
        f"{sizes[0]:,} images to train on, {sizes[1]:,} to validate, {sizes[2]:,} held out; "
        f"{len(examples.classes)} classes"
    )
    for warning in examples.warnings:
        report.log(warning, level="warning")
    return list(examples.warnings)


def _write(spec: ImageSpec, prepared: PreparedImages, outcome: Outcome, stage: Path, report: Report) -> Result:
    examples, network = prepared.examples, prepared.learner.network
    prepared.learner.close()
    share = prepared.learner.clock.compute_share()
    if share is not None:
        report.metric("system/data_loading_share", share, outcome.training.at.step)
    rows = examples.parts.test
    report.progress(0, len(rows), "images", stage="measure")
    outputs, target = predict(network, examples.pixels, rows), examples.target[rows]
    heldout = _write_heldout(examples, stage / HELDOUT_NAME)
    count = write_samples(
        stage / SAMPLES_NAME,
        examples.pixels[rows],
        [examples.paths[row] for row in rows],
        target,
        outputs,
        examples.classes,
    )
    manifest = save_network(
        network,
        stage,
        architecture=prepared.architecture,
        task=TASK,
        target=TARGET,
        features=FEATURES,
        classes=examples.classes,
        inputs=prepared.digests,
        spec=spec.model_dump(mode="json"),
    )
    figures = _build_figures(spec, examples, outputs, manifest.file.size)
    (stage / FIGURES_NAME).write_text(figures.to_json(), encoding="utf-8")
    report.progress(len(rows), len(rows), "images", stage="measure")
    report.log(figures.notes[0])
    labels = [name[:MOST_LETTERS] for name in examples.classes]
    diagnosed = write_diagnostics(build_class_diagnostics(outputs, target, labels, TARGET), stage)
    counts = {HELDOUT_NAME: heldout, SAMPLES_NAME: count}
    return _build_result(examples, outcome, manifest, figures, counts, diagnosed)


def _write_heldout(examples: ImageExamples, path: Path) -> int:
    """Write held-out images as they were decoded, evenly chosen where there are too many; returns how many."""
    rows = examples.parts.test
    most = max(1, MOST_HELDOUT_BYTES // examples.pixels[0].nbytes)
    if len(rows) > most:
        rows = rows[np.linspace(0, len(rows) - 1, most).astype(np.int64)]
    write_heldout(Heldout(examples.pixels[rows], examples.target[rows]), path)
    return len(rows)


def _build_figures(spec: ImageSpec, examples: ImageExamples, outputs: Outputs, size: int) -> Figures:
    parts, classes = examples.parts, examples.classes
    target = examples.target[parts.test]
    shares = np.bincount(examples.target[parts.training], minlength=len(classes)) / len(parts.training)
    simple = np.tile(shares.astype(np.float32), (len(target), 1))
    paired = measure_difference(TASK, outputs, simple, target, seed=spec.seed)
    metrics = measure(TASK, outputs, target, seed=spec.seed)
    return Figures(
        schema="plane/figures/v1",
        variant="fp32",
        rows=len(target),
        metrics=metrics,
        baseline=Baseline(name=BASELINE, metrics=measure(TASK, simple, target, seed=spec.seed), difference=paired),
        classes=measure_classes(outputs, target, classes),
        size_bytes=size,
        notes=[_describe_comparison(paired[0])],
    )


def measure_classes(outputs: Outputs, target: npt.NDArray[np.int64], classes: list[str]) -> list[ClassFigures]:
    """Precision, recall with its interval, and f1 of each class."""
    guess, figures = outputs.argmax(axis=1), []
    for place, name in enumerate(classes):
        actual, predicted = int((target == place).sum()), int((guess == place).sum())
        hits = int(((guess == place) & (target == place)).sum())
        figures.append(
            ClassFigures(
                name=name,
                rows=actual,
                precision=hits / predicted if predicted else None,
                recall=build_share_metric("recall", hits, actual, 0.95, "higher") if actual else None,
                f1=2 * hits / (actual + predicted) if actual + predicted else None,
            )
        )
    return figures


def _describe_comparison(paired: Metric) -> str:
    low, high = paired.low or 0.0, paired.high or 0.0
    values: dict[str, Any] = {"value": paired.value, "low": low, "high": high, "name": paired.name}
    if low > 0:
        return Message(
            "{name} is {value:+.4g} above that of the most frequent class ({low:+.4g} to {high:+.4g}).", **values
        )
    if high < 0:
        return Message(
            "{name} is {value:+.4g} below that of the most frequent class ({low:+.4g} to {high:+.4g}).", **values
        )
    return Message(
        "{name} is {value:+.4g} from that of the most frequent class ({low:+.4g} to {high:+.4g}): that may be chance.",
        **values,
    )


def _build_result(
    examples: ImageExamples,
    outcome: Outcome,
    manifest: ModelManifest,
    figures: Figures,
    counts: Mapping[str, int],
    diagnosed: tuple[Output, ...],
) -> Result:
    baseline = figures.baseline.metrics if figures.baseline else []
    return Result(
        outputs=(
            Output("model", manifest.file.name, MEDIA_TYPES["safetensors"], {"variant": "fp32"}),
            Output("manifest", MANIFEST_NAME, MANIFEST_TYPE),
            Output("figures", FIGURES_NAME, FIGURES_TYPE),
            Output("heldout", HELDOUT_NAME, HELDOUT_TYPE, {"rows": counts[HELDOUT_NAME]}),
            *diagnosed,
            Output("samples", SAMPLES_NAME, SAMPLES_TYPE, {"samples": counts[SAMPLES_NAME]}),
        ),
        summary={
            "task": TASK,
            "classes": len(examples.classes),
            "left_out": examples.left_out,
            "metrics": {metric.name: metric.value for metric in figures.metrics},
            "baseline": {metric.name: metric.value for metric in baseline},
            **outcome.summarize(),
        },
    )
