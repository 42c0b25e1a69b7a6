"""A repository in a folder, and the keys that open it."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import NamedTuple

import pytest

from deepseek.snapshots.chunking import split_blocks
from deepseek.snapshots.keys import generate_key, generate_recovery_key, parse_recovery_key
from deepseek.snapshots.repository import Repository, SnapshotIndex
from deepseek.snapshots.storage import FolderStorage


class Place(NamedTuple):
    """A repository's folder, its keys, and a way to open it."""

    root: Path
    plane_key: bytes
    recovery_text: str

    def open(self, storage=None, **keys) -> Repository:
        keys = keys or {"plane_key": self.plane_key}
        return Repository.open(storage or FolderStorage(self.root), split=split_blocks, **keys)

    def open_for_recovery(self) -> Repository:
        return self.open(recovery_key=parse_recovery_key(self.recovery_text))


@pytest.fixture
def place(tmp_path) -> Place:
    root = tmp_path / "repository"
    root.mkdir()
    plane_key, (text, public) = generate_key(), generate_recovery_key()
    Repository.create(FolderStorage(root), plane_key=plane_key, recovery_public=public)
    return Place(root, plane_key, text)


def take(repository: Repository, name: str, files: dict[str, bytes], objects: list[bytes]):
    """A snapshot of these files and objects."""
    entries = {path: repository.add_file([body]) for path, body in files.items()}
    lines = []
    for body in objects:
        digest = hashlib.sha256(body).hexdigest()
        assert repository.add_object(digest, lambda body=body: [body])
        lines.append(f"{digest} {len(body)}\n".encode())
    entry = repository.add_index(SnapshotIndex(entries, repository.add_file(lines)))
    return repository.commit(name, entry, {"artifacts": len(objects)})


@pytest.fixture(scope="session")
def dump() -> bytes:
    """Three megabytes that no compressor shrinks."""
    return os.urandom(3 << 20)
