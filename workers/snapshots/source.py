"""A snapshot of a repository as what a restore reads."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

from apps.site.snapshots.layout import MANIFEST, Manifest, read_manifest
from apps.site.snapshots.sources import BackupSource
from deepseek.snapshots.errors import build_damage_error
from deepseek.snapshots.repository import Entry, Repository, SnapshotRecord


class RepositorySource(BackupSource):
    """Everything but the objects is decrypted into `folder`, which the caller removes. Raises SnapshotError."""

    def __init__(self, repository: Repository, snapshot: SnapshotRecord, folder: Path) -> None:
        self.repository, self.folder = repository, folder
        self.label = f"snapshot {snapshot.snapshot_id}"
        index = repository.read_index(snapshot)
        self.sums = {name: entry.digest for name, entry in index.files.items()}
        for name, entry in index.files.items():
            self.extract(name, entry)
        self.manifest: Manifest = read_manifest(folder)
        for digest, _size in repository.iter_objects(index):
            self.sums[f"artifacts/{digest[:2]}/{digest}"] = digest
        self.digest = hashlib.sha256("".join(sorted(self.sums.values())).encode()).hexdigest()
        if MANIFEST not in index.files:
            raise build_damage_error(MANIFEST)

    def extract(self, name: str, entry: Entry) -> None:
        path = self.folder / name
        if not path.resolve().is_relative_to(self.folder.resolve()):
            raise build_damage_error("index")
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with path.open("xb") as file:
            path.chmod(0o600)
            for chunk in self.repository.read_file(entry):
                file.write(chunk)

    def read_object(self, digest: str) -> Iterator[bytes]:
        return self.repository.read_object(digest)
