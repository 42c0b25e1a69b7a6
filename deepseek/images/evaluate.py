"""Measure a model of images on a folder of them: what `deepseek evaluate` does for this family."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from deepseek.evaluate.document import Evaluation
from deepseek.evaluate.examples import TABLE, Examples, require_enough, select_measured_rows
from deepseek.evaluate.latency import measure_latencies, measure_memory, open_and_measure
from deepseek.evaluate.measurement import Answers, Measurement
from deepseek.evaluate.measures import Blocks, Floats, Measure, Outputs, build_sum_measures, divide_or_nan
from deepseek.evaluate.outputs import write_outputs
from deepseek.evaluate.spec import METRICS, EvaluateSpec
from deepseek.evaluate.table_fields import refuse_table_fields
from deepseek.images.cache import decode_images
from deepseek.images.examples import MOST_NAMED, check_broken, compute_folder_digest
from deepseek.images.listing import Entry, list_entries
from deepseek.job import EngineError, Report
from deepseek.messages import N_, Message
from deepseek.models.evaluate import Better
from deepseek.models.manifest import ImageArchitecture, ModelManifest, compute_file_sha256
from deepseek.models.predictor import open_model
from deepseek.models.predictor_base import Predictor

MOST_CACHE_BYTES = 256 << 20  # of decoded images in memory; more lie in a temporary file
MOST_LABELS = 50  # classes of which each has figures of its own
MOST_LETTERS = 100  # of a class in the name of a figure
CHUNK = 64  # images computed at once


@dataclass(frozen=True)
class MeasuredImages:
    """`pixels` (N, 3, height, width) uint8 of the images that were read; `digest`: of these, and of what they are."""

    pixels: npt.NDArray[np.uint8]
    places: npt.NDArray[np.int64]  # in `pixels`, of those that are measured
    examples: Examples
    digest: str
    notes: list[str]


class ImageMeasurement(Measurement):
    """The figures of a classification, and those of each class; two pair only where the images are the same."""

    def __init__(self, spec: EvaluateSpec, answers: Answers, images: MeasuredImages) -> None:
        super().__init__(spec, answers, images.examples)
        self.pairing = hashlib.sha256(f"{self.pairing} {images.digest}".encode()).hexdigest()

    def build_measures(self, among: Any) -> list[Measure]:
        measures, outputs = super().build_measures(among), self.answers.outputs
        if outputs is None or len(self.answers.classes) > MOST_LABELS:
            return measures
        guess, target = outputs[among].argmax(axis=1), self.examples.target[among]
        return measures + build_label_measures(guess, target, self.blocks[among], self.count, self.answers.classes)


def evaluate_images(
    spec: EvaluateSpec, manifest: ModelManifest, inputs: Mapping[str, Path], stage: Path, report: Report
) -> Evaluation:
    """Write the three files of an evaluation into `stage` and return its document.

    The slot ``table`` holds a folder of images, as their training takes it; where the folder names a part test, only
    that is measured. Raises EngineError ``family_unsupported`` for fields that only tables have, ``class_unknown``,
    ``too_many_missing``, ``rows_too_few``, ``outputs_not_finite``, and what `list_entries`, `check_broken` and
    `open_model` do.
    """
    architecture = manifest.architecture
    if not isinstance(architecture, ImageArchitecture):
        raise TypeError("a model of images")
    refuse_table_fields(spec, "images", ("slices", "group", "horizon"))
    images = read_measured_images(inputs["table"], architecture, manifest.classes, spec, report)
    first = images.pixels[images.places[: max(spec.batches)]].astype(np.float32)
    predictor, model_bytes = open_and_measure(
        lambda: open_model(manifest, inputs["model"]), lambda model: model.predict(first[:1])
    )
    outputs = _predict(predictor, images, report)
    measured = ImageMeasurement(spec, Answers(manifest.task, list(manifest.classes), outputs), images)
    return write_outputs(
        stage,
        measured,
        measured.measure_slices(report),
        images.notes,
        target=manifest.target,
        variant=manifest.variant,
        format=manifest.format,
        model=manifest.file.sha256,
        manifest=compute_file_sha256(inputs["manifest"]),
        table=images.digest,
        latency=measure_latencies(
            lambda batch: predictor.bind(np.resize(first, (batch, *first.shape[1:]))), spec, report
        ),
        size_bytes=manifest.file.size,
        memory=measure_memory(model_bytes),
    )


def read_measured_images(
    folder: Path, architecture: ImageArchitecture, classes: Sequence[str], spec: EvaluateSpec, report: Report
) -> MeasuredImages:
    """The images of `folder` that a model of these classes can be measured on, scaled as the model takes them."""
    listed = list_entries(folder, TABLE)
    has_test = any(entry.split == "test" for entry in listed)
    part = [place for place, entry in enumerate(listed) if entry.split == "test" or not has_test]
    requested = np.array([place for place in part if place >= spec.first_row], np.int64)
    labelled = np.array([place for place in requested if listed[place].label], np.int64)
    entries = [listed[place] for place in labelled]
    places = _list_class_places(entries, classes)
    decoded = decode_images(
        folder,
        [entry.path for entry in entries],
        architecture.height,
        architecture.width,
        most_bytes=MOST_CACHE_BYTES,
        threads=spec.threads,
        advance=lambda done: report.progress(done, len(entries), "images", stage="read"),
    )
    for warning in check_broken(entries, decoded, "skip", TABLE):
        report.log(warning, level="warning")
    whole = np.setdiff1d(np.arange(len(entries)), list(decoded.broken))
    usable = np.isin(requested, labelled[whole])
    rows = requested[select_measured_rows(usable, np.ones(len(requested), bool))]
    require_enough(len(rows))
    left_out = len(requested) - len(rows)
    examples = Examples(
        table=pa.table({}),
        features=np.empty((len(rows), 0), np.float32),
        target=np.array([places[entries[place].label] for place in whole], np.int64),
        rows=rows,
        query=None,
        left_out=left_out,
        horizon=1,
        paths=[entries[place].path for place in whole],
    )
    digest = compute_folder_digest(entries, decoded.digests)
    notes = _list_notes(left_out, len(part), len(listed) - len(part))
    return MeasuredImages(decoded.pixels, whole.astype(np.int64), examples, digest, notes)


def _list_class_places(entries: Sequence[Entry], classes: Sequence[str]) -> dict[str, int]:
    """Place of each class in the outputs. Raises EngineError ``class_unknown``."""
    places = {name: place for place, name in enumerate(classes)}
    unknown = sorted({entry.label for entry in entries} - set(places))
    if unknown:
        raise EngineError(
            "class_unknown",
            "The images have labels that the model does not know.",
            field=TABLE,
            value=", ".join(unknown[:MOST_NAMED]),
            limit=", ".join(classes[:MOST_NAMED]),
            hint=N_("Leave these images out, or measure a model that learned their classes."),
        )
    return places


def _list_notes(left_out: int, measured: int, others: int) -> list[str]:
    notes: list[str] = []
    if others:
        notes.append(
            Message(
                "The folder names a part test: its {count:,} images are measured, not the {others:,} others.",
                count=measured,
                others=others,
            )
        )
    if left_out:
        notes.append(
            Message("{left_out:,} images have no label or cannot be decoded; they are not measured.", left_out=left_out)
        )
    return notes


def _predict(predictor: Predictor, images: MeasuredImages, report: Report) -> Outputs:
    """Class shares (n, C) of the images that are measured."""
    outputs, count = [], len(images.places)
    for start in range(0, count, CHUNK):
        report.progress(start, count, "images", stage="compare")
        outputs.append(predictor.predict(images.pixels[images.places[start : start + CHUNK]].astype(np.float32)))
    report.progress(count, count, "images", stage="compare")
    shares: Outputs = np.concatenate(outputs)
    wrong = np.flatnonzero(~np.isfinite(shares).all(axis=1))
    if wrong.size:
        raise EngineError(
            "outputs_not_finite",
            "The model gives infinite values, or none, for some of the images.",
            field="inputs/model",
            value=(images.examples.paths or [])[wrong[0]],
            limit="finite values",
            hint=N_("Train with a lower max_lr."),
        )
    return shares


def build_label_measures(guess: Any, target: Any, blocks: Blocks, count: int, classes: Sequence[str]) -> list[Measure]:
    """Precision, recall and F1 of each class, as recall_cat; not defined where nothing is of it or predicted so."""

    def count_by_class(of: Any, among: Blocks) -> Floats:
        cells = np.bincount(among * len(classes) + of, minlength=count * len(classes))
        return cells.reshape(count, len(classes)).astype(np.float64)

    hit = guess == target
    counts = count_by_class(target[hit], blocks[hit]), count_by_class(guess, blocks), count_by_class(target, blocks)
    definitions: list[tuple[str, Better, Callable[[Floats], Floats]]] = []
    names = set(METRICS["classification"])
    for place, label in enumerate(classes):
        at = slice(3 * place, 3 * place + 3)
        for kind, compute in (("recall", _compute_recall), ("precision", _compute_precision), ("f1", _compute_f1)):
            name = _make_unique(f"{kind}_{label[:MOST_LETTERS]}", names)
            names.add(name)
            definitions.append((name, "higher", _apply_to_label(compute, at)))
    return build_sum_measures(np.stack(counts, axis=2).reshape(count, -1), definitions)


def _apply_to_label(compute: Callable[[Floats], Floats], at: slice) -> Callable[[Floats], Floats]:
    return lambda sums: compute(sums[:, at])


def _compute_recall(counts: Floats) -> Floats:
    return divide_or_nan(counts[:, 0], counts[:, 2])


def _compute_precision(counts: Floats) -> Floats:
    return divide_or_nan(counts[:, 0], counts[:, 1])


def _compute_f1(counts: Floats) -> Floats:
    return divide_or_nan(2 * counts[:, 0], counts[:, 1] + counts[:, 2])


def _make_unique(name: str, names: set[str]) -> str:
    """A class may be called macro, as a figure of all classes is."""
    unique, number = name, 1
    while unique in names:
        number += 1
        unique = f"{name} ({number})"
    return unique
