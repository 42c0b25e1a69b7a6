"""What a restore reads: a folder that `backup` wrote, or a snapshot of a repository (workers/snapshots)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path

from apps.site.snapshots.layout import SUMS, Manifest, get_object_path, hash_file, iter_file, read_manifest, read_sums

RECORDS = "records/"
"""Files of a snapshot for people: configuration and environments. A restore puts them into `restored/` of the home."""


class BackupSource(ABC):
    """`folder` holds everything but the objects; `sums` is the digest of every file and object by its name."""

    label: str
    folder: Path
    manifest: Manifest
    sums: dict[str, str]
    digest: str  # of the list of sums, for the audit trail

    @abstractmethod
    def read_object(self, digest: str) -> Iterator[bytes]:
        """The bytes of an object; FileNotFoundError where there are none."""


class FolderSource(BackupSource):
    """Raises Invalid for a folder that is no backup."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.label = folder, str(folder)
        self.manifest = read_manifest(folder)
        self.sums = {name: digest for digest, name in read_sums(folder)}
        self.digest = hash_file(folder / SUMS)

    def read_object(self, digest: str) -> Iterator[bytes]:
        return iter_file(get_object_path(self.folder, digest))
