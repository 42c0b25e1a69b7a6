"""A folder of images as examples to learn from: pixels, classes, and which images are for what."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from deepseek.images.cache import DecodedImages, decode_images
from deepseek.images.listing import FIELD, Entry, list_entries
from deepseek.images.spec import ImageSpec
from deepseek.job import EngineError, Report
from deepseek.messages import N_
from deepseek.train.split import FEWEST_ROWS, Parts, Rows, split_randomly

MOST_BROKEN = 0.1
"""Of more broken images than this share the folder is refused: something is wrong with all of it."""
MOST_NAMED = 20
MOST_CLASSES = 10_000


@dataclass(frozen=True)
class ImageExamples:
    """`pixels` (N, 3, height, width) uint8 and `target` (N,) places in `classes`; broken images are in no part."""

    pixels: npt.NDArray[np.uint8]
    paths: list[str]
    target: npt.NDArray[np.int64]
    classes: list[str]
    parts: Parts
    left_out: int
    warnings: list[str]
    digest: str


def read_examples(folder: Path, spec: ImageSpec, report: Report) -> ImageExamples:
    """The images in `folder` that have a label and can be decoded.

    Raises what `list_entries` does, and EngineError ``class_unknown``, ``too_few_classes``, ``too_many_classes``,
    ``image_broken``, ``too_many_broken``, ``too_few_rows``, ``label_only_in_test``.
    """
    listed = list_entries(folder)
    entries = [entry for entry in listed if entry.label]
    warnings = []
    if len(entries) < len(listed):
        warnings.append(f"{len(listed) - len(entries):,} images have no label and were left out.")
    _require_classes(list_classes(entries, spec))
    decoded = decode_images(
        folder,
        [entry.path for entry in entries],
        spec.height,
        spec.width,
        most_bytes=spec.cache_megabytes * 10**6,
        threads=spec.threads,
        advance=lambda done: report.progress(done, len(entries), "images", stage="read"),
    )
    warnings += check_broken(entries, decoded, spec.on_broken)
    usable = np.setdiff1d(np.arange(len(entries)), list(decoded.broken))
    classes = list_classes([entries[place] for place in usable], spec)
    _require_classes(classes)
    places = {name: place for place, name in enumerate(classes)}
    target = np.array([places.get(entry.label, 0) for entry in entries], np.int64)
    parts = _split(usable, target, [entry.split for entry in entries], spec)
    _require_parts(len(usable), parts, target, classes)
    warnings += _check_counts(target[usable], classes)
    return ImageExamples(
        decoded.pixels,
        [entry.path for entry in entries],
        target,
        classes,
        parts,
        len(listed) - len(usable),
        warnings,
        compute_folder_digest(entries, decoded.digests),
    )


def list_classes(entries: Sequence[Entry], spec: ImageSpec) -> list[str]:
    """The classes in the order of the outputs: those of the spec, else the labels in the order of their letters."""
    counts = Counter(entry.label for entry in entries)
    if spec.classes is None:
        return sorted(counts)
    unknown = [name for name in sorted(counts) if name not in spec.classes]
    if unknown:
        first = next(entry.path for entry in entries if entry.label == unknown[0])
        raise EngineError(
            "class_unknown",
            "The label {label!r} of {path} is none of the classes.",
            label=unknown[0],
            path=first,
            field=FIELD,
            value=", ".join(unknown[:MOST_NAMED]),
            limit=", ".join(spec.classes[:MOST_NAMED]),
            hint=N_("Correct the labels, add the class, or leave these images out."),
        )
    return list(spec.classes)


def compute_folder_digest(entries: Sequence[Entry], digests: Sequence[str]) -> str:
    """SHA-256 over paths, labels, parts and bytes of the images, wherever they lie."""
    digest = sha256()
    for entry, file in zip(entries, digests, strict=True):
        digest.update("\n".join((entry.path, entry.label, entry.split, file, "")).encode())
    return digest.hexdigest()


def check_broken(entries: Sequence[Entry], decoded: DecodedImages, rule: str, field: str = FIELD) -> list[str]:
    """A warning that names the broken images. Raises EngineError where the rule takes none, or not so many."""
    broken = decoded.broken
    if not broken:
        return []
    place, why = next(iter(broken.items()))
    if rule == "fail":
        raise EngineError(
            "image_broken",
            "{path} cannot be decoded: {why}.",
            path=entries[place].path,
            why=why,
            field=field,
            value=", ".join(entries[at].path for at in list(broken)[:MOST_NAMED]),
            limit="images that can be decoded whole",
            hint=N_("Copy these files again, or let broken images be left out."),
        )
    if len(broken) > MOST_BROKEN * len(entries):
        raise EngineError(
            "too_many_broken",
            "{broken:,} of {images:,} images cannot be decoded, the first of them {path}: {why}.",
            broken=len(broken),
            images=len(entries),
            path=entries[place].path,
            why=why,
            field=field,
            value=", ".join(entries[at].path for at in list(broken)[:MOST_NAMED]),
            limit=f"at most {MOST_BROKEN:.0%} of the images",
            hint=N_("Copy the folder again: so many broken files have one cause."),
        )
    listed = "; ".join(f"{entries[at].path} ({why})" for at, why in list(broken.items())[:MOST_NAMED])
    more = f"; and {len(broken) - MOST_NAMED:,} more" if len(broken) > MOST_NAMED else ""
    return [f"{len(broken):,} images cannot be decoded and were left out: {listed}{more}."]


def _require_classes(classes: Sequence[str]) -> None:
    if len(classes) < 2:
        raise EngineError(
            "too_few_classes",
            "The images have {count} labels: there is nothing to tell apart.",
            count=len(classes),
            field=FIELD,
            value=", ".join(classes) or "none",
            limit="at least 2",
            hint=N_("Put the images of each class into a folder of its name, or name labels in manifest.csv."),
        )
    if len(classes) > MOST_CLASSES:
        raise EngineError(
            "too_many_classes",
            "The images have {count:,} labels.",
            count=len(classes),
            field=FIELD,
            value=str(len(classes)),
            limit=f"at most {MOST_CLASSES:,}",
            hint=N_("A label names what many images share; a name for each image is none."),
        )


def _split(usable: Rows, target: Rows, splits: Sequence[str], spec: ImageSpec) -> Parts:
    """The parts that the manifest names; what it does not name is drawn from the images to learn from, by class."""
    split = np.array(splits, dtype=object)[usable]
    validation, test = usable[split == "val"], usable[split == "test"]
    rest = usable[(split != "val") & (split != "test")]
    if (len(validation) and len(test)) or len(rest) < 2:
        return Parts(rest, validation, test)
    parts = split_randomly(target[rest], spec.validation_share, spec.test_share, spec.seed)
    training = rest[parts.training]
    validation_drawn, test_drawn = rest[parts.validation], rest[parts.test]
    if len(validation):
        return Parts(np.sort(np.concatenate([training, validation_drawn])), validation, test_drawn)
    if len(test):
        return Parts(np.sort(np.concatenate([training, test_drawn])), validation_drawn, test)
    return Parts(training, validation_drawn, test_drawn)


def _require_parts(images: int, parts: Parts, target: Rows, classes: Sequence[str]) -> None:
    sizes = [len(parts.training), len(parts.validation), len(parts.test)]
    if images < FEWEST_ROWS or sizes[0] < 2 or min(sizes) < 1:
        raise EngineError(
            "too_few_rows",
            "{images} images are too few: {training} to train on, {validation} to validate and {test} to test with.",
            images=images,
            training=sizes[0],
            validation=sizes[1],
            test=sizes[2],
            field=FIELD,
            value=str(images),
            limit=f"at least {FEWEST_ROWS}, 2 to train on and 1 in each other part",
            hint=N_("Give more images of each class, or another split."),
        )
    learned = set(target[parts.training].tolist())
    lost = sorted({int(code) for part in (parts.validation, parts.test) for code in target[part]} - learned)
    if lost:
        names = ", ".join(repr(classes[code]) for code in lost[:MOST_NAMED])
        raise EngineError(
            "label_only_in_test",
            "No image to train on has the label {names}, which images to validate or test with have.",
            names=names,
            field=FIELD,
            value=names,
            limit="every class in the training part",
            hint=N_("Move some of these images into the training part, or leave them out."),
        )


def _check_counts(target: npt.NDArray[Any], classes: Sequence[str]) -> list[str]:
    counts = np.bincount(target, minlength=len(classes))
    single = [name for name, count in zip(classes, counts, strict=True) if count == 1]
    absent = [name for name, count in zip(classes, counts, strict=True) if count == 0]
    warnings = []
    if single:
        listed = ", ".join(single[:MOST_NAMED])
        warnings.append(f"Of {listed} there is one image only: it is learned from, and nothing measures the class.")
    if absent:
        warnings.append(f"Of {', '.join(absent[:MOST_NAMED])} there is no image: the class is never predicted.")
    return warnings
