"""The files of a version on this node: copied out of the store with their digests checked, one folder a version."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path

from apps.platform.artifacts.stores import get_store
from workers.outputs import stage_bytes

PART = ".part"


@dataclass(frozen=True, slots=True)
class VersionFiles:
    """A form of a version: its key and number, and its files as (name, SHA-256)."""

    key: int
    number: int
    files: tuple[tuple[str, str], ...]

    @property
    def folder_name(self) -> str:
        return hashlib.sha256(repr(self.files).encode()).hexdigest()[:32]


def stage_version(version: VersionFiles, root: Path, check: Callable[[], None]) -> Path:
    """The folder of the version below `root`, copied if it is not there. Raises PlaneError for other bytes, OSError.

    A copy that was killed leaves a folder of another name. The server verifies the bytes again when it loads them.
    """
    folder = root / version.folder_name
    if folder.is_dir():
        return folder
    part = folder.with_suffix(PART)
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    try:
        for name, digest in version.files:
            if Path(name).name != name:
                raise OSError(f"{name!r} is no name of a file")
            stage_bytes(get_store(), digest, part / name, check)
        part.rename(folder)
    except BaseException:
        shutil.rmtree(part, ignore_errors=True)
        if folder.is_dir():  # another replica of the same version was faster
            return folder
        raise
    return folder


def remove_unused(root: Path, used: Collection[str]) -> None:
    """Remove the folders of versions that no server of this node has any use of."""
    for folder in root.iterdir() if root.is_dir() else ():
        if folder.suffix != PART and folder.name not in used:
            shutil.rmtree(folder, ignore_errors=True)
