"""Turn a folder of images into a table: one row per image with its label, plus statistics of the set.

The table is a file of the version, images.csv, so that jobs take it as their input. Labels come from manifest.csv or
manifest.jsonl in the folder (a row per image: `path`, and whatever else there is to say of it), else from the names of
the folders: the image's own one is its label, and a first one called train, val or test its split.
"""

from __future__ import annotations

import csv
import io
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from apps.core.errors import Invalid
from apps.data.datasets.ingest.image_headers import SUFFIXES
from apps.data.datasets.ingest.scan_index import IndexedFile
from apps.data.datasets.queries import iter_chunks
from deepseek.messages import N_

IMAGE_TABLE_PATH = "images.csv"
MANIFESTS = ("manifest.csv", "manifest.jsonl")
SPLITS = {"train": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}
FIXED_COLUMNS = ("path", "label", "split", "sha256", "size", "media_type", "width", "height", "mode", "readable")
DTYPES = {"size": "int64", "width": "int64", "height": "int64", "readable": "bool"}
MAX_PATHS_NAMED = 20  # of what is wrong, so many are named; the table has them all
MAX_CLASSES_COUNTED = 1_000  # counted one by one
NEARLY_EMPTY_BITS_PER_PIXEL = (
    0.06  # bits of file per pixel: of one colour, whatever the format; a photograph has more than 0.3
)

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class ImageTable:
    """`params`: what is recorded with the version, bounded; `table`: the bytes of `path`."""

    path: str
    table: bytes
    rows: int
    columns: list[dict[str, str]]
    params: dict[str, Any]


def build_image_table(files: Sequence[tuple[str, IndexedFile]]) -> ImageTable:
    """The table of the images among these files. Raises Invalid, naming the path, where a manifest and the files
    differ, and where there is no image.
    """
    indexed = dict(files)
    if IMAGE_TABLE_PATH in indexed:
        raise Invalid(
            "The folder holds a file {table} already, which is the name of the table of its images.",
            table=IMAGE_TABLE_PATH,
            code="path_taken",
            field="path",
            hint=N_("Rename it; what it says of the images goes into manifest.csv."),
        )
    images = [path for path, file in files if file.facts_json]
    if not images:
        raise Invalid(
            "The folder holds no image.",
            code="no_images",
            field="path",
            limit=", ".join(SUFFIXES),
            hint=N_("Leave --images out."),
        )
    manifest = next((name for name in MANIFESTS if name in indexed), None)
    labels = (
        read_manifest(manifest, indexed[manifest].digest)
        if manifest
        else {path: parse_folder_labels(path) for path in images}
    )
    if manifest:
        verify_manifest_paths(manifest, set(labels), set(images))
    extra_names = list(dict.fromkeys(name for row in labels.values() for name in row if name not in FIXED_COLUMNS))
    rows = [build_row(path, indexed[path], labels[path]) for path in images]
    return ImageTable(
        IMAGE_TABLE_PATH,
        render_csv([*FIXED_COLUMNS, *extra_names], rows),
        len(rows),
        build_columns(extra_names),
        summarize_images(rows, manifest),
    )


def build_row(path: str, indexed: IndexedFile, labels: Mapping[str, str]) -> Row:
    facts = indexed.facts
    readable = bool(facts.get("media_type") and facts.get("whole"))
    about = {name: facts.get(name) or "" for name in ("media_type", "width", "height", "mode")}
    return (
        {"label": "", "split": "", **labels, "path": path, "sha256": indexed.digest, "size": indexed.about.size}
        | about
        | {"readable": readable}
    )


def parse_folder_labels(path: str) -> dict[str, str]:
    folders = path.split("/")[:-1]
    split = SPLITS.get(folders[0].lower(), "") if folders else ""
    class_folders = folders[1:] if split else folders
    return {"label": class_folders[-1] if class_folders else "", "split": split}


def read_manifest(name: str, digest: str) -> dict[str, dict[str, str]]:
    """{path: what the row says}; Invalid for a row without a path, or two of one path."""
    text = b"".join(iter_chunks(digest)).decode("utf-8-sig", "replace")
    try:
        rows = (
            [json.loads(line) for line in text.splitlines() if line.strip()]
            if name.endswith(".jsonl")
            else list(csv.DictReader(io.StringIO(text, newline="")))
        )
    except (ValueError, csv.Error) as error:
        raise build_manifest_error(name, f"cannot be read: {error}") from error
    labels_by_path: dict[str, dict[str, str]] = {}
    for number, row in enumerate(rows, start=1):
        path = row.get("path") if isinstance(row, dict) else None
        if not isinstance(path, str) or not path:
            raise build_manifest_error(name, f"names no path in row {number}")
        if path in labels_by_path:
            raise build_manifest_error(name, f"names {path} twice")
        labels_by_path[path] = {
            str(key): "" if value is None else str(value) for key, value in row.items() if key is not None
        }
    return labels_by_path


def verify_manifest_paths(manifest: str, manifest_paths: set[str], images: set[str]) -> None:
    missing, extra = sorted(manifest_paths - images), sorted(images - manifest_paths)
    if missing:
        raise build_manifest_error(
            manifest, f"names {missing[0]}, which is no image of the folder ({len(missing)} such)", missing
        )
    if extra:
        raise build_manifest_error(manifest, f"does not name the image {extra[0]} ({len(extra)} such)", extra)


def build_manifest_error(manifest: str, defect: str, paths: Sequence[str] = ()) -> Invalid:
    return Invalid(
        "{manifest} {what}.",
        manifest=manifest,
        what=defect,
        code="bad_image_manifest",
        field=paths[0] if paths else manifest,
        limit="a row for each image of the folder, with its path from there",
        hint=N_("Mend the manifest or the folder. Nothing was registered."),
    )


def render_csv(names: Sequence[str], rows: Sequence[Row]) -> bytes:
    out = io.StringIO(newline="")
    writer = csv.DictWriter(out, names, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows({**row, "readable": "true" if row["readable"] else "false"} for row in rows)
    return out.getvalue().encode()


def build_columns(extra_names: Sequence[str]) -> list[dict[str, str]]:
    return [{"name": name, "dtype": DTYPES.get(name, "string")} for name in (*FIXED_COLUMNS, *extra_names)]


def summarize_images(rows: Sequence[Row], manifest: str | None) -> dict[str, Any]:
    """Statistics of the image set: counts per class, split and format, sizes, and defective images."""
    first: dict[str, str] = {}
    equal = [row["path"] for row in rows if first.setdefault(row["sha256"], row["path"]) != row["path"]]
    unreadable = [row["path"] for row in rows if not row["readable"]]
    empty = [row["path"] for row in rows if is_nearly_empty(row)]
    classes = Counter(row["label"] for row in rows)
    return {
        "images": len(rows),
        "labels_from": manifest or "folders",
        "classes": dict(classes.most_common(MAX_CLASSES_COUNTED)),
        "classes_count": len(classes),
        "splits": dict(Counter(row["split"] for row in rows if row["split"])),
        "formats": dict(Counter(row["media_type"] or "unknown" for row in rows)),
        "modes": dict(Counter(row["mode"] for row in rows if row["mode"])),
        "width": compute_range([row["width"] for row in rows if row["width"]]),
        "height": compute_range([row["height"] for row in rows if row["height"]]),
        "unreadable": len(unreadable),
        "unreadable_paths": unreadable[:MAX_PATHS_NAMED],
        "duplicates": len(equal),
        "duplicate_paths": equal[:MAX_PATHS_NAMED],
        "nearly_empty": len(empty),
        "nearly_empty_paths": empty[:MAX_PATHS_NAMED],
    }


def is_nearly_empty(row: Row) -> bool:
    pixels = (row["width"] or 0) * (row["height"] or 0)
    return bool(pixels) and row["size"] * 8 < pixels * NEARLY_EMPTY_BITS_PER_PIXEL


def compute_range(values: Sequence[int]) -> list[float]:
    """Minimum, median and maximum."""
    return [min(values), median(values), max(values)] if values else []
