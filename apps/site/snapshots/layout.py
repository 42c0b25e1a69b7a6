"""What lies where in the folder of a backup.

SHA256SUMS        every other file but itself: `sha256sum --check SHA256SUMS` verifies a backup without us
manifest.json     what was backed up, of which plane, where its audit trail ended
database.sqlite3  or database.dump, PostgreSQL's custom format
keys/             the audit signing key, those of releases, and the session key where the home keeps it
checkpoints/      where the audit trail stood, signed, up to what the database of this backup holds
artifacts/ab/...  the objects of the store, by digest
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO, Any

from apps.core.errors import Invalid

CHUNK = 1 << 20
FORMAT = 1
SUMS, MANIFEST, CHECKPOINTS = "SHA256SUMS", "manifest.json", "checkpoints/checkpoints.jsonl"
DATABASES = {"sqlite": "database.sqlite3", "postgresql": "database.dump"}


@dataclass(frozen=True, slots=True)
class Manifest:
    """`missing`: objects that the database names and the store no longer had whole."""

    made_at: str
    vendor: str
    migrations: list[str]
    audit: dict[str, Any]
    artifacts: int
    artifact_bytes: int
    missing: list[str] = field(default_factory=list)
    format: int = FORMAT

    def write(self, folder: Path) -> None:
        (folder / MANIFEST).write_text(json.dumps(asdict(self), indent=1) + "\n")


def read_manifest(folder: Path) -> Manifest:
    """The manifest of a backup; Invalid where there is none, or one that this version cannot read."""
    try:
        payload = json.loads((folder / MANIFEST).read_text())
        if payload.get("format") != FORMAT:
            raise Invalid(
                f"{folder} has format {payload.get('format')!r}; this version reads {FORMAT}.", field="FOLDER"
            )
        return Manifest(**payload)
    except (OSError, ValueError, TypeError, AttributeError) as failure:
        raise Invalid(f"{folder} is no backup: {MANIFEST} cannot be read ({failure}).", field="FOLDER") from None


def get_object_path(folder: Path, digest: str) -> Path:
    return folder / "artifacts" / digest[:2] / digest


def hash_file(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_sums(folder: Path) -> Iterator[tuple[str, str]]:
    """(digest, name) of every file of a backup; Invalid where a name leads out of it."""
    try:
        lines = (folder / SUMS).read_text().splitlines()
    except OSError as failure:
        raise Invalid(f"{folder} is no whole backup: {SUMS}: {failure.strerror}.", field="FOLDER") from None
    for line in lines:
        digest, _, name = line.partition("  ")
        if len(digest) != 64 or not name or name.startswith("/") or ".." in name.split("/"):
            raise Invalid(f"{SUMS} of {folder} holds a line that no backup writes: {line[:100]!r}.", field="FOLDER")
        yield digest, name


def iter_file(path: Path) -> Iterator[bytes]:
    """The bytes of a file, piece by piece; FileNotFoundError at once where there is none."""
    file = path.open("rb", buffering=0)
    return iter_chunks(file)


def iter_chunks(file: IO[bytes]) -> Iterator[bytes]:
    with file:
        while chunk := file.read(CHUNK):
            yield chunk


def list_files(folder: Path, name: str) -> list[str]:
    """Names of the files of a part of the backup, relative to its folder."""
    return sorted(str(path.relative_to(folder)) for path in (folder / name).rglob("*") if path.is_file())
