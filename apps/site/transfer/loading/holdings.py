"""The bytes that the rows of a bundle name, held by its project in one statement for all of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from apps.core.actors import Actor
from apps.platform.accounts.models import Project
from apps.platform.artifacts.bulk_sql import Stored, hold_many
from apps.platform.artifacts.file_names import OCTETS
from apps.platform.artifacts.models import Artifact
from apps.platform.artifacts.store import StoredBytes
from apps.site.transfer.loading.catalogue import IncomingCatalogue

JSON_TYPE = "application/json"
ROWS_PER_QUERY = 500  # SQLite takes a thousand parameters
NamedFile = tuple[Any, str, str]
"""Digest, name, media type."""


class BundleHoldings:
    """Artifacts by digest. What the rows name is held at the first call; a file that they do not name by itself."""

    def __init__(
        self, actor: Actor, project: Project, catalogue: IncomingCatalogue, stored: dict[str, StoredBytes]
    ) -> None:
        self.actor, self.project, self.catalogue, self.stored = actor, project, catalogue, stored
        self.artifacts: dict[str, Artifact] | None = None

    def hold(self, files: Sequence[NamedFile]) -> dict[str, Artifact]:
        """{digest: artifact} of these files. Raises Invalid for what is not in the catalogue."""
        if self.artifacts is None:
            self.artifacts = {}
            sizes = self.catalogue.sizes
            self.load([file for file in list_named_files(self.catalogue.rows) if file[0] in sizes])
        self.load([file for file in files if file[0] not in self.artifacts])
        return {digest: self.artifacts[digest] for digest, _, _ in files}

    def hold_one(self, digest: Any, name: str, media_type: str = OCTETS) -> Artifact:
        return self.hold([(digest, name, media_type)])[digest]

    def load(self, files: Sequence[NamedFile]) -> None:
        if not files or self.artifacts is None:
            return
        rows = []
        for digest, name, media_type in files:
            size = self.catalogue.get_size(digest)
            bytes_ = self.stored.get(digest, StoredBytes(digest, size))
            rows.append(Stored(digest, size, name, media_type, bytes_.chunks, bytes_.replaced))
        hold_many(actor=self.actor, project=self.project, stored=rows)
        digests = [row.digest for row in rows]
        for start in range(0, len(digests), ROWS_PER_QUERY):
            self.artifacts |= Artifact.objects.in_bulk(digests[start : start + ROWS_PER_QUERY])


def list_named_files(rows: dict[str, list[dict[str, Any]]]) -> list[NamedFile]:
    """Every file that well-formed rows name, the first name of each digest. What is malformed is left to the loader,
    which refuses it."""
    files: dict[str, NamedFile] = {}
    for digest, name, media_type in iter_named_files(rows):
        if isinstance(digest, str) and isinstance(name, str) and isinstance(media_type, str):
            files.setdefault(digest, (digest, name, media_type))
    return list(files.values())


def iter_named_files(rows: dict[str, list[dict[str, Any]]]) -> Iterator[tuple[Any, Any, Any]]:
    for row in rows["dataset_versions"]:
        for each in as_list(row.get("files")):
            match each:
                case [path, digest, media_type]:
                    yield digest, path, media_type
        yield row.get("quality"), "quality.json", JSON_TYPE
    for row in rows["runs"]:
        yield from iter_sized_files(row.get("artifacts"))
    for row in rows["model_versions"]:
        for variant in as_list(row.get("variants")):
            if isinstance(variant, dict):
                yield variant.get("artifact"), variant.get("file") or "model", OCTETS
                yield variant.get("manifest"), "manifest.json", JSON_TYPE
        yield from iter_sized_files(row.get("files"))
    for row in rows["evaluations"]:
        yield row.get("table"), "table", OCTETS
        yield row.get("artifact"), "evaluation.json", JSON_TYPE
        yield row.get("replicates"), "replicates.bin", OCTETS


def iter_sized_files(files: Any) -> Iterator[tuple[Any, Any, Any]]:
    for each in as_list(files):
        match each:
            case [path, digest, _, media_type]:
                yield digest, path, media_type


def as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
