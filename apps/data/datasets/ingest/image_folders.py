"""A folder of images as a table: one row per image with its label, and what the set as a whole is like.

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
from apps.data.datasets.ingest.scan_index import Seen
from apps.data.datasets.queries import chunks_of
from deepseek.messages import N_

TABLE = "images.csv"
MANIFESTS = ("manifest.csv", "manifest.jsonl")
SPLITS = {"train": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}
FIXED = ("path", "label", "split", "sha256", "size", "media_type", "width", "height", "mode", "readable")
DTYPES = {"size": "int64", "width": "int64", "height": "int64", "readable": "bool"}
NAMED = 20  # of what is wrong, so many are named; the table has them all
CLASSES = 1_000  # counted one by one
NEARLY_EMPTY = 0.06  # bits of file per pixel: of one colour, whatever the format; a photograph has more than 0.3

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Images:
    """`params`: what is recorded with the version, bounded; `table`: the bytes of `path`."""

    path: str
    table: bytes
    rows: int
    columns: list[dict[str, str]]
    params: dict[str, Any]


def described(files: Sequence[tuple[str, Seen]]) -> Images:
    """The table of the images among these files. Raises Invalid, naming the path, where a manifest and the files
    differ, and where there is no image.
    """
    seen = dict(files)
    if TABLE in seen:
        raise Invalid(
            "The folder holds a file {table} already, which is the name of the table of its images.",
            table=TABLE,
            code="path_taken",
            field="path",
            hint=N_("Rename it; what it says of the images goes into manifest.csv."),
        )
    images = [path for path, one in files if one.told]
    if not images:
        raise Invalid(
            "The folder holds no image.",
            code="no_images",
            field="path",
            limit=", ".join(SUFFIXES),
            hint=N_("Leave --images out."),
        )
    manifest = next((name for name in MANIFESTS if name in seen), None)
    told = read_manifest(manifest, seen[manifest].digest) if manifest else {path: by_folder(path) for path in images}
    if manifest:
        check_same(manifest, set(told), set(images))
    more = list(dict.fromkeys(name for row in told.values() for name in row if name not in FIXED))
    rows = [row_of(path, seen[path], told[path]) for path in images]
    return Images(TABLE, as_csv([*FIXED, *more], rows), len(rows), columns_of(more), params_of(rows, manifest))


def row_of(path: str, seen: Seen, told: Mapping[str, str]) -> Row:
    facts = seen.facts
    readable = bool(facts.get("media_type") and facts.get("whole"))
    about = {name: facts.get(name) or "" for name in ("media_type", "width", "height", "mode")}
    return (
        {"label": "", "split": "", **told, "path": path, "sha256": seen.digest, "size": seen.about.size}
        | about
        | {"readable": readable}
    )


def by_folder(path: str) -> dict[str, str]:
    folders = path.split("/")[:-1]
    split = SPLITS.get(folders[0].lower(), "") if folders else ""
    inside = folders[1:] if split else folders
    return {"label": inside[-1] if inside else "", "split": split}


def read_manifest(name: str, digest: str) -> dict[str, dict[str, str]]:
    """{path: what the row says}; Invalid for a row without a path, or two of one path."""
    text = b"".join(chunks_of(digest)).decode("utf-8-sig", "replace")
    try:
        rows = (
            [json.loads(line) for line in text.splitlines() if line.strip()]
            if name.endswith(".jsonl")
            else list(csv.DictReader(io.StringIO(text, newline="")))
        )
    except (ValueError, csv.Error) as error:
        raise wrong(name, f"cannot be read: {error}") from error
    found: dict[str, dict[str, str]] = {}
    for number, row in enumerate(rows, start=1):
        path = row.get("path") if isinstance(row, dict) else None
        if not isinstance(path, str) or not path:
            raise wrong(name, f"names no path in row {number}")
        if path in found:
            raise wrong(name, f"names {path} twice")
        found[path] = {str(key): "" if value is None else str(value) for key, value in row.items() if key is not None}
    return found


def check_same(manifest: str, named: set[str], images: set[str]) -> None:
    missing, extra = sorted(named - images), sorted(images - named)
    if missing:
        raise wrong(manifest, f"names {missing[0]}, which is no image of the folder ({len(missing)} such)", missing)
    if extra:
        raise wrong(manifest, f"does not name the image {extra[0]} ({len(extra)} such)", extra)


def wrong(manifest: str, what: str, paths: Sequence[str] = ()) -> Invalid:
    return Invalid(
        "{manifest} {what}.",
        manifest=manifest,
        what=what,
        code="bad_image_manifest",
        field=paths[0] if paths else manifest,
        limit="a row for each image of the folder, with its path from there",
        hint=N_("Mend the manifest or the folder. Nothing was registered."),
    )


def as_csv(names: Sequence[str], rows: Sequence[Row]) -> bytes:
    out = io.StringIO(newline="")
    writer = csv.DictWriter(out, names, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows({**row, "readable": "true" if row["readable"] else "false"} for row in rows)
    return out.getvalue().encode()


def columns_of(more: Sequence[str]) -> list[dict[str, str]]:
    return [{"name": name, "dtype": DTYPES.get(name, "string")} for name in (*FIXED, *more)]


def params_of(rows: Sequence[Row], manifest: str | None) -> dict[str, Any]:
    """What the set is like: how many of what, and what is wrong with some of it."""
    first: dict[str, str] = {}
    equal = [row["path"] for row in rows if first.setdefault(row["sha256"], row["path"]) != row["path"]]
    unreadable = [row["path"] for row in rows if not row["readable"]]
    empty = [row["path"] for row in rows if nearly_empty(row)]
    classes = Counter(row["label"] for row in rows)
    return {
        "images": len(rows),
        "labels_from": manifest or "folders",
        "classes": dict(classes.most_common(CLASSES)),
        "classes_count": len(classes),
        "splits": dict(Counter(row["split"] for row in rows if row["split"])),
        "formats": dict(Counter(row["media_type"] or "unknown" for row in rows)),
        "modes": dict(Counter(row["mode"] for row in rows if row["mode"])),
        "width": spread([row["width"] for row in rows if row["width"]]),
        "height": spread([row["height"] for row in rows if row["height"]]),
        "unreadable": len(unreadable),
        "unreadable_paths": unreadable[:NAMED],
        "duplicates": len(equal),
        "duplicate_paths": equal[:NAMED],
        "nearly_empty": len(empty),
        "nearly_empty_paths": empty[:NAMED],
    }


def nearly_empty(row: Row) -> bool:
    pixels = (row["width"] or 0) * (row["height"] or 0)
    return bool(pixels) and row["size"] * 8 < pixels * NEARLY_EMPTY


def spread(values: Sequence[int]) -> list[float]:
    """Least, median and greatest."""
    return [min(values), median(values), max(values)] if values else []
