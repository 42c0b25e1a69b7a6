"""The catalogue of a bundle in quarantine, read as something that was sent: its form and its digests are checked."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from apps.core.canonical import sha256_hex
from apps.core.errors import NotFound
from apps.site.transfer.export.catalogue import SCHEMA
from apps.site.transfer.export.rows import build_catalogue_error
from apps.site.transfer.loading.integrity import check_contents
from deepseek.bundles.spec import BundleManifest
from deepseek.messages import N_
from deepseek.signing.documents import DIGEST

MAX_CATALOGUE_BYTES = 512 << 20
KINDS = (
    "dataset_versions",
    "runs",
    "model_versions",
    "evaluations",
    "images",
    "packages",
    "advisories",
    "conflicts",
    "edges",
    "cut_lineages",
)


class IncomingCatalogue:
    """Rows by kind, and the size of every object that they may name. `folder`: where the carried objects lie."""

    def __init__(self, folder: Path, manifest: BundleManifest, document: Mapping[str, Any]) -> None:
        self.folder, self.manifest = folder, manifest
        self.rows: dict[str, list[dict[str, Any]]] = {kind: read_rows(document, kind) for kind in KINDS}
        self.sizes = read_sizes(document)

    def get_size(self, digest: Any) -> int:
        """Bytes of an object that a row names. Raises Invalid for one that the catalogue does not list."""
        if not isinstance(digest, str) or digest not in self.sizes:
            raise build_catalogue_error("objects", f"it does not list {str(digest)[:64]}")
        return self.sizes[digest]

    def get_path(self, digest: Any) -> Path:
        """Where a carried object lies. Raises NotFound where it is not there."""
        self.get_size(digest)
        path: Path = self.folder / digest
        if not path.is_file():
            raise build_missing_error(digest)
        return path

    def read_document(self, digest: Any) -> Any:
        """An object that was made for the bundle: a JSON document."""
        path = self.get_path(digest)
        if path.stat().st_size > MAX_CATALOGUE_BYTES:
            raise build_catalogue_error("objects", f"{digest[:12]} is too long")
        text = path.read_bytes()
        if sha256_hex(text) != digest:
            raise build_missing_error(digest)
        try:
            return json.loads(text)
        except (ValueError, RecursionError):
            raise build_catalogue_error("objects", f"{digest[:12]} is no JSON") from None

    def is_carried(self, digest: Any) -> bool:
        return isinstance(digest, str) and digest in self.sizes and (self.folder / digest).is_file()

    def list_carried(self) -> list[str]:
        """Digests of the objects that came with it, of those that its rows may name."""
        return [digest for digest in self.sizes if self.is_carried(digest)]


def read_catalogue(folder: Path, manifest: BundleManifest) -> IncomingCatalogue:
    """Raises NotFound where it is not in quarantine, Invalid `catalogue_malformed`; also for rows that were signed by
    nobody."""
    digest = manifest.head.catalogue.digest
    path = folder / digest
    if not path.is_file():
        raise build_missing_error(digest)
    if path.stat().st_size > MAX_CATALOGUE_BYTES:
        raise build_catalogue_error("", "it is too long")
    text = path.read_bytes()
    if sha256_hex(text) != digest:
        raise build_missing_error(digest)
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        raise build_catalogue_error("", "it is no JSON") from None
    if not isinstance(document, dict) or document.get("schema") != SCHEMA:
        raise build_catalogue_error("schema", "it has another format")
    catalogue = IncomingCatalogue(folder, manifest, document)
    check_contents(manifest, catalogue.rows)
    return catalogue


def read_rows(document: Mapping[str, Any], kind: str) -> list[dict[str, Any]]:
    rows = document.get(kind, [])
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise build_catalogue_error(kind, "it is no list of objects")
    return rows


def read_sizes(document: Mapping[str, Any]) -> dict[str, int]:
    rows = document.get("objects")
    sizes: dict[str, int] = {}
    for row in rows if isinstance(rows, list) else [None]:
        match row:
            case [str(digest), int(size)] if DIGEST.fullmatch(digest) and size >= 0:
                sizes[digest] = size
            case _:
                raise build_catalogue_error("objects", "an entry is no digest with a size")
    return sizes


def build_missing_error(digest: str) -> NotFound:
    return NotFound(
        "The bundle needs {digest}, which is neither in it nor here.",
        digest=digest,
        code="object_missing",
        field="objects",
        hint=N_("Export the inventory again, and build the bundle against it."),
    )
