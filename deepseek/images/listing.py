"""Which images a folder holds, with the label and the part of each: from its table or manifest, else its folders."""

import csv
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from deepseek.job import EngineError
from deepseek.messages import N_

SUFFIXES = (".png", ".jpg", ".jpeg", ".gif", ".bmp", ".webp", ".tif", ".tiff")
MANIFESTS = ("images.csv", "manifest.csv", "manifest.jsonl")
"""The first of these that is there names the images; a dataset version has the first."""
SPLITS = {"train": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}
FIELD = "inputs/images"
"""Of a training: the slot that its errors name."""


@dataclass(frozen=True)
class Entry:
    """One image: its path below the folder, its label ("" where it has none), and train, val, test or ""."""

    path: str
    label: str
    split: str


def list_entries(folder: Path, field: str = FIELD) -> list[Entry]:
    """The images of `folder`, by their paths; errors name `field`.

    Raises EngineError ``no_images``, ``bad_image_manifest`` (what cannot be read, a row without a path, a path twice or
    one that leads out of the folder, a part with another name) or ``image_missing``.
    """
    if not folder.is_dir():
        raise _build_no_images_error(folder, field)
    manifest = next((folder / name for name in MANIFESTS if (folder / name).is_file()), None)
    entries = list(_read_manifest(manifest, folder, field)) if manifest else list(_read_folders(folder))
    if not entries:
        raise _build_no_images_error(folder, field)
    return sorted(entries, key=lambda entry: entry.path)


def _read_folders(folder: Path) -> Iterator[Entry]:
    """The label of an image is the name of its folder, and a first folder called train, val or test its part."""
    for path in folder.rglob("*"):
        relative = path.relative_to(folder)
        if path.suffix.lower() not in SUFFIXES or not path.is_file():
            continue
        folders = list(relative.parts[:-1])
        split = SPLITS.get(folders[0].lower(), "") if folders else ""
        classes = folders[1:] if split else folders
        yield Entry(relative.as_posix(), classes[-1] if classes else "", split)


def _read_manifest(manifest: Path, folder: Path, field: str) -> Iterator[Entry]:
    paths = set[str]()
    for number, row in enumerate(_parse_rows(manifest, field), start=1):
        path = row.get("path")
        if not isinstance(path, str) or not path:
            raise _build_manifest_error(manifest, f"row {number} has no path", field)
        if path in paths:
            raise _build_manifest_error(manifest, f"row {number} names {path} again", field)
        paths.add(path)
        parts = PurePosixPath(path).parts
        if path.startswith("/") or ".." in parts or "\\" in path or "\x00" in path:
            raise _build_manifest_error(manifest, f"row {number}: {path!r} is no path below the folder", field)
        split = str(row.get("split") or "").strip().lower()
        if split and split not in SPLITS:
            why = f"row {number}: the split {split[:40]!r} is none of train, val, test"
            raise _build_manifest_error(manifest, why, field)
        if not (folder / path).is_file():
            raise EngineError(
                "image_missing",
                "{manifest} names {path}, which is not there.",
                manifest=manifest.name,
                path=path,
                field=field,
                value=path[:200],
                limit="a file for each row",
                hint=N_("Copy the whole folder, or leave the row out."),
            )
        yield Entry(path, str(row.get("label") or "").strip(), SPLITS.get(split, ""))


def _parse_rows(manifest: Path, field: str) -> Iterator[Mapping[str, Any]]:
    try:
        text = manifest.read_text(encoding="utf-8-sig")
        if manifest.suffix == ".jsonl":
            rows = [json.loads(line) for line in text.splitlines() if line.strip()]
        else:
            rows = list(csv.DictReader(text.splitlines(keepends=True), strict=True))
    except (OSError, ValueError, csv.Error, RecursionError) as error:
        raise _build_manifest_error(manifest, str(error)[:200], field) from error
    if rows and not all(isinstance(row, dict) for row in rows):
        raise _build_manifest_error(manifest, "a row is no object", field)
    if rows and not any("label" in row for row in rows):
        raise _build_manifest_error(manifest, "no row has a label", field)
    return iter(rows)


def _build_no_images_error(folder: Path, field: str) -> EngineError:
    return EngineError(
        "no_images",
        "{folder} holds no image.",
        folder=folder.name,
        field=field,
        value=folder.name,
        limit=", ".join(SUFFIXES),
        hint=N_("Give a folder with a folder for each class, or with a manifest.csv of path and label."),
    )


def _build_manifest_error(manifest: Path, why: str, field: str) -> EngineError:
    return EngineError(
        "bad_image_manifest",
        "{manifest}: {why}.",
        manifest=manifest.name,
        why=why,
        field=field,
        value=manifest.name,
        limit="a row for each image: path, label, and perhaps split",
        hint=N_("Correct the row."),
    )
