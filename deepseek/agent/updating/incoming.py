"""Releases that `deepseek agent install` brought: a folder of the home for each, which appears whole."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deepseek.agent.errors import AgentError
from deepseek.agent.storage.home import RELEASE, Home
from deepseek.agent.updating.downloads import require_space
from deepseek.agent.updating.versions import (
    MODEL_FOLDER,
    PROVENANCE_FILE,
    RELEASE_FILE,
    copy_model,
    get_staged_model,
)
from deepseek.signing.dsse import MAX_ENVELOPE_BYTES, Envelope
from deepseek.signing.statements import ReleaseStatement

KEYS_FILE, FINGERPRINT_FILE = "keys.json", "fingerprint"
MAX_KEYS_BYTES = 64 << 20


@dataclass(frozen=True)
class BroughtRelease:
    """A release in the folder. `keys`: the lists of release keys that came with it, and a person's `fingerprint`.
    `provenance`: the envelope that came with it."""

    release: str
    envelope: dict[str, Any]
    keys: dict[str, Any] | None
    fingerprint: str
    provenance: dict[str, Any] | None = None


def find_brought(home: Home) -> BroughtRelease | None:
    """The next release that was brought; one that cannot be read is removed."""
    for folder in sorted(home.incoming.iterdir()):
        if not RELEASE.fullmatch(folder.name):
            continue  # it is still being copied
        try:
            envelope = json.loads((folder / RELEASE_FILE).read_bytes())
            keys = json.loads((folder / KEYS_FILE).read_bytes()) if (folder / KEYS_FILE).exists() else None
            fingerprint = (folder / FINGERPRINT_FILE).read_text()
            source = folder / PROVENANCE_FILE
            provenance = json.loads(source.read_bytes()) if source.exists() else None
        except (OSError, ValueError):
            envelope = None
        if isinstance(envelope, dict) and (folder / MODEL_FOLDER).is_dir():
            return BroughtRelease(folder.name, envelope, keys, fingerprint, provenance)
        home.disk.remove_tree(folder)
    return None


def take_brought_files(home: Home, release: str) -> None:
    """Move the files of a release that was brought to where it is put together."""
    brought, staged = home.incoming / release, get_staged_model(home, release)
    if (brought / MODEL_FOLDER).exists():
        home.disk.remove_tree(staged.parent)
        staged.parent.mkdir(mode=0o700)
        home.disk.move(brought / MODEL_FOLDER, staged)
    home.disk.remove_tree(brought)


def bring_release(home: Home, folder: Path, fingerprint: str = "") -> str:
    """Copy a carried folder into the home, and return the release. Nothing but the files' sizes is verified yet.

    Raises AgentError ``folder_wrong``, AgentFailure ``disk_full``, and SigningError where the release cannot be read.
    """
    data = read_limited(folder / RELEASE_FILE, MAX_ENVELOPE_BYTES)
    envelope = Envelope.parse(data)
    statement = ReleaseStatement.parse(envelope.payload)
    provenance = read_provenance(folder / PROVENANCE_FILE)
    for file in statement.files:
        path = folder / file.name
        if path.is_symlink() or not path.is_file():
            raise _build_folder_error(path, "it is missing, or is no file")
        if (size := path.stat().st_size) != file.size:
            raise _build_folder_error(path, f"it has {size} bytes, and the release names {file.size}")
    require_space(home.incoming, statement.files)
    staged = home.incoming / f".{envelope.digest}.new"
    home.disk.remove_tree(staged)
    staged.mkdir(mode=0o700)
    try:
        copy_model(folder, staged / MODEL_FOLDER, statement.files)
    except OSError as error:
        home.disk.remove_tree(staged)
        raise _build_folder_error(folder, error.strerror or str(error)) from None
    (staged / RELEASE_FILE).write_bytes(data)
    (staged / FINGERPRINT_FILE).write_text(fingerprint)
    if provenance:
        (staged / PROVENANCE_FILE).write_bytes(provenance)
    if (folder / KEYS_FILE).exists():
        (staged / KEYS_FILE).write_bytes(read_limited(folder / KEYS_FILE, MAX_KEYS_BYTES))
    target = home.incoming / envelope.digest
    home.disk.remove_tree(target)
    home.disk.move(staged, target)
    return envelope.digest


def read_provenance(path: Path) -> bytes:
    """The envelope beside a release; empty where there is none. Raises SigningError where it cannot be read."""
    if not path.exists():
        return b""
    data = read_limited(path, MAX_ENVELOPE_BYTES)
    Envelope.parse(data)
    return data


def read_limited(path: Path, limit: int) -> bytes:
    """The bytes of a file that has no more of them than `limit`. Raises AgentError ``folder_wrong``."""
    try:
        with path.open("rb") as file:
            data = file.read(limit + 1)
    except OSError as error:
        raise _build_folder_error(path, error.strerror or str(error)) from None
    if len(data) > limit:
        raise _build_folder_error(path, f"it has more than {limit} bytes")
    return data


def _build_folder_error(path: Path, reason: str) -> AgentError:
    return AgentError(
        "folder_wrong",
        f"This is no folder of a release: {path}: {reason}.",
        field="FOLDER",
        value=str(path),
        limit="release.json, keys.json and the files that the release names",
        hint="Copy the folder again, whole, as the plane wrote it.",
    )
