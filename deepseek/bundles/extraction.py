"""Objects out of volumes into a folder, under their digests alone: nothing that a bundle says becomes a path.

An object appears under its digest once all its bytes have been verified. The pass that verifies a volume writes them,
so a volume is read once; one that is extracted again writes the same bytes again. All of them are made durable before
the first has its name: few by themselves, many by one flush of their file system.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from deepseek.bundles.spec import Part, VolumeRef
from deepseek.bundles.volumes import CHUNK_BYTES, Count, build_damage_error, sync_folder, verify_volume

ONE_BY_ONE = 16  # files that are synced each by itself; of more, their file system is


def extract_volume(
    path: Path, reference: VolumeRef, bundle: str, folder: Path, count: Count | None = None
) -> list[Part]:
    """Verify a volume and put its objects into `folder`; of an object in parts, its part at its place.

    Raises as `verify_volume`, and OSError for a full disk; then no object of wrong bytes is there under its digest.
    """
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    staged: list[tuple[Path, Path]] = []
    written: list[Path] = []

    def take(part: Part, chunks: Iterator[memoryview]) -> None:
        target = folder / part.digest
        place = folder / f"{part.digest}.part"
        if target.is_file():
            return
        flags = os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | (os.O_TRUNC if part.is_whole else 0)
        with os.fdopen(os.open(place, flags, 0o600), "wb") as file:
            file.seek(part.offset)
            for chunk in chunks:
                file.write(chunk)
        written.append(place)
        if part.is_whole:
            staged.append((place, target))

    parts = verify_volume(path, reference, bundle, take, count)
    sync_files(folder, written)
    for place, target in staged:
        os.replace(place, target)
    sync_folder(folder)
    return parts


def sync_files(folder: Path, paths: Sequence[Path]) -> None:
    """Make files of a folder survive a power cut."""
    if len(paths) > ONE_BY_ONE and sync_file_system(folder):
        return
    for path in dict.fromkeys(paths):
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def sync_file_system(folder: Path) -> bool:
    """Make everything that was written to the file system of a folder durable, with one flush; False where the system
    has no such call. Linux waits for the disk, and since 5.8 raises OSError for what could not be written."""
    call = getattr(ctypes.CDLL(None, use_errno=True), "syncfs", None)
    if call is None:
        return False
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        if call(descriptor):
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))
    finally:
        os.close(descriptor)
    return True


def join_parts(folder: Path, digest: str) -> None:
    """Give an object that came in parts its name. Raises TransferError ``object_damaged`` if they are not its bytes."""
    place, target = folder / f"{digest}.part", folder / digest
    if target.is_file():
        return
    if not place.is_file() or hash_file(place) != digest:
        raise build_damage_error(digest)
    os.replace(place, target)
    sync_folder(folder)


def hash_file(path: Path) -> str:
    sha256 = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            sha256.update(chunk)
    return sha256.hexdigest()
