"""Whether the rows of a bundle are what its manifest lists, and carry the bytes that their documents name.

Whoever signs a bundle sees the manifest alone, and so does whoever decides that it changes the plane as a whole: a row
that the manifest does not list was signed by nobody.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath
from typing import Any

from apps.core.canonical import compute_digest
from apps.core.errors import Invalid
from apps.ml.experiments.files.tree import normalize_path
from apps.ml.experiments.metrics.series import compute_run_digest, extend_digest
from apps.ml.experiments.models import Metric
from apps.site.transfer.export.rows import build_catalogue_error
from deepseek.bundles.spec import BundleManifest

Rows = Mapping[str, list[dict[str, Any]]]
DIGEST_FIELDS = {
    "dataset_versions": ("dataset_version", "digest"),
    "model_versions": ("model_version", "digest"),
    "runs": ("run", "metrics_digest"),
    "images": ("image", "manifest_digest"),
    "packages": ("package", "artifact"),
    "conflicts": ("conflicts", "digest"),
    "advisories": ("advisories", ""),  # listed by the digest of the feed, which is not what travels
}
"""Rows of the catalogue -> kind of content, and the field that the manifest lists it by."""


def check_contents(manifest: BundleManifest, rows: Rows) -> None:
    """Raise Invalid `catalogue_malformed` unless the manifest lists exactly these rows. Evaluations and edges belong
    to what it lists."""
    listed = Counter(
        (content.kind, "" if content.kind == "advisories" else content.digest) for content in manifest.head.contents
    )
    carried = Counter(list_row_digests(rows))
    if listed == carried:
        return
    kind, digest = min((listed - carried) or (carried - listed))
    raise build_catalogue_error("contents", f"its rows are not those that bundle.json lists: {kind} {digest[:12]}")


def list_row_digests(rows: Rows) -> Iterator[tuple[str, str]]:
    for name, (kind, field) in DIGEST_FIELDS.items():
        for row in rows[name]:
            digest = str(row.get(field) or "") if field else ""
            if name == "runs" and not digest:  # one without points
                digest = compute_digest({"run": row.get("id")})
            yield kind, digest


def check_named_files(row: Mapping[str, Any]) -> None:
    """Raise Invalid `catalogue_malformed` unless the document of a model version, whose digest names the version, names
    every variant and file of its row with the same bytes."""
    document = json.loads(str(row.get("document")))
    references: set[tuple[str, ...]] = {
        (str(each["name"]), str(each["file"]), str(each["model"]), str(each["manifest"]))
        for each in document.get("variants", [])
    }
    references |= {(str(each["path"]), str(each["sha256"])) for each in document.get("files", [])}
    rows: list[tuple[str, ...]] = [
        tuple(str(each[key]) for key in ("name", "file", "artifact", "manifest")) for each in row["variants"]
    ]
    rows += [(str(path), str(digest)) for path, digest, _, _ in row["files"]]
    if unnamed := next((each for each in rows if each not in references), None):
        raise build_catalogue_error("model_versions", f"its document names {unnamed[0][:60]!r} with other bytes")


def check_series(row: Mapping[str, Any], series: Any) -> None:
    """Raise Invalid `catalogue_malformed` unless the digest of a run, which `bundle.json` lists it by, is that of its
    metrics, and that of each metric the one of its points. Of a thinned series not every point is left to compare."""
    try:
        metrics = [Metric(**{name: each[name] for name in ("key", "count", "digest")}) for each in series]
        claimed = str(row.get("metrics_digest") or "")
        if claimed and compute_run_digest(metrics) != claimed:
            raise build_catalogue_error("runs", f"{claimed[:12]} is not the digest of its metrics")
        for each in series:
            if len(each["points"]) == each["count"] and compute_points_digest(each["points"]) != each["digest"]:
                raise build_catalogue_error(
                    "series", f"the points of {str(each['key'])[:60]!r} are not those of its digest"
                )
    except (TypeError, KeyError, ValueError):
        raise build_catalogue_error("series", "it is not what it must be") from None


def compute_points_digest(points: list[list[Any]]) -> str:
    """The digest of a series from its points, in the order in which they were recorded."""
    digest = ""
    for step, value, is_nan, _ in points:
        digest = extend_digest(digest, step, math.nan if is_nan else float(value))
    return digest


def check_member_path(path: str) -> str:
    """A relative path in its one spelling. Raises Invalid `catalogue_malformed` for one that leads elsewhere."""
    try:
        is_plain = bool(path) and normalize_path(path) == path
    except Invalid:
        is_plain = False
    if not is_plain:
        raise build_catalogue_error("files", f"{path[:60]!r} is not a relative path")
    return path


def check_file_name(name: str) -> str:
    """A name of one file, for what becomes a part of paths. Raises Invalid `catalogue_malformed`."""
    if PurePosixPath(check_member_path(name)).name != name:
        raise build_catalogue_error("variants", f"{name[:60]!r} is no name of a file")
    return name
