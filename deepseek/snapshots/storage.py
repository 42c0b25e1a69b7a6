"""Where a repository lies: names and bytes. A folder or a mount here; other places implement the same."""

from __future__ import annotations

import fcntl
import os
import re
import secrets
import shutil
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from deepseek.messages import N_
from deepseek.snapshots.errors import SnapshotError

READ_BYTES = 1 << 20
NAME = re.compile(r"repository\.json|snapshots/[0-9a-f]{32}|objects/[0-9a-f]{2}/[0-9a-f]{64}")
MAX_BATCH_FILES = 256
MAX_BATCH_BYTES = 64 << 20


class Storage(ABC):
    """Bytes under names. What was written is there after `flush` at the latest, and then for good."""

    @abstractmethod
    def read(self, name: str) -> Iterator[bytes]:
        """The bytes, piece by piece; FileNotFoundError at once if there are none."""

    @abstractmethod
    def write(self, name: str, chunks: Iterable[bytes]) -> int:
        """Store the bytes whole or not at all, in place of what is there; returns how many. An error of `chunks`
        passes through and leaves nothing."""

    @abstractmethod
    def flush(self) -> None:
        """Make everything durable that was written."""

    @abstractmethod
    def list_names(self, prefix: str) -> Iterator[tuple[str, int]]:
        """(name, size) of all that begins with `prefix`, a folder."""

    @abstractmethod
    def delete(self, name: str) -> None:
        """Remove the bytes; harmless when there are none."""

    @abstractmethod
    def sweep(self) -> None:
        """Remove what interrupted writers left; only for who holds the lock."""

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Keep other writers out, as far as the place can."""
        yield


def validate_name(name: str) -> str:
    if not NAME.fullmatch(name):
        raise ValueError(f"{name!r} is no name of a repository")
    return name


class FolderStorage(Storage):
    """A folder. Files are written aside, made durable in batches, and then renamed: a name always has whole bytes."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.staged: list[tuple[Path, Path]] = []
        self.staged_bytes = 0

    def read(self, name: str) -> Iterator[bytes]:
        path = self.root / validate_name(name)
        try:
            file = path.open("rb", buffering=0)
        except FileNotFoundError:
            raise
        except OSError as failure:
            raise build_read_error(failure) from failure
        return iter_file(file.fileno(), file)

    def write(self, name: str, chunks: Iterable[bytes]) -> int:
        target = self.root / validate_name(name)
        staging = self.root / "staging" / secrets.token_hex(16)
        size = 0
        try:
            staging.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            with os.fdopen(os.open(staging, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
                for chunk in chunks:
                    size += file.write(chunk)
        except OSError as failure:
            with suppress(OSError):  # it is the sweeper's then
                staging.unlink(missing_ok=True)
            raise build_write_error(failure) from failure
        except BaseException:
            staging.unlink(missing_ok=True)
            raise
        self.staged.append((staging, target))
        self.staged_bytes += size
        if len(self.staged) >= MAX_BATCH_FILES or self.staged_bytes >= MAX_BATCH_BYTES:
            self.flush()
        return size

    def flush(self) -> None:
        """Bytes first, then names: a power cut leaves no name without its bytes."""
        try:
            for staging, _target in self.staged:
                sync_path(staging)
            folders = {target.parent for _staging, target in self.staged}
            for folder in folders:
                folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            for staging, target in self.staged:
                staging.rename(target)
            for folder in {*folders, *(folder.parent for folder in folders)}:
                sync_path(folder)
        except OSError as failure:
            raise build_write_error(failure) from failure
        self.staged, self.staged_bytes = [], 0

    def list_names(self, prefix: str) -> Iterator[tuple[str, int]]:
        """A folder that cannot be listed is no empty one: whoever removes what no snapshot names would remove all."""

        def refuse(failure: OSError) -> None:
            if not isinstance(failure, FileNotFoundError):
                raise build_read_error(failure) from failure

        for folder, _folders, files in os.walk(self.root / prefix, onerror=refuse):
            for name in files:
                path = Path(folder, name)
                with suppress(FileNotFoundError):
                    yield str(path.relative_to(self.root)), path.stat().st_size

    def delete(self, name: str) -> None:
        path = self.root / validate_name(name)
        try:
            path.unlink()
            if name.startswith("snapshots/"):  # a power cut must not bring it back without its objects
                sync_path(path.parent)
        except FileNotFoundError:
            pass
        except OSError as failure:
            raise build_write_error(failure) from failure

    def sweep(self) -> None:
        shutil.rmtree(self.root / "staging", ignore_errors=True)

    @contextmanager
    def lock(self) -> Iterator[None]:
        """By flock: it ends with the process that holds it, however that ends."""
        try:
            descriptor = os.open(self.root / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as failure:
            raise build_write_error(failure) from failure
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as failure:
            os.close(descriptor)
            if not isinstance(failure, BlockingIOError):
                raise build_write_error(failure) from failure
            raise build_busy_error() from None
        try:
            yield
        finally:
            os.close(descriptor)


def iter_file(descriptor: int, file: object) -> Iterator[bytes]:
    """The bytes of an open file, which is closed at the end."""
    try:
        while chunk := read_chunk(descriptor):
            yield chunk
    finally:
        file.close()  # type: ignore[attr-defined]


def read_chunk(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, READ_BYTES)
    except OSError as failure:
        raise build_read_error(failure) from failure


def sync_path(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
        if not path.is_dir():
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    finally:
        os.close(descriptor)


def build_busy_error() -> SnapshotError:
    return SnapshotError(
        "snapshot_busy",
        "Another process writes to this repository.",
        field="repository",
        hint=N_("Wait until it has ended, and try again."),
    )


def build_read_error(failure: OSError) -> SnapshotError:
    return SnapshotError(
        "snapshot_storage_unavailable",
        "The repository cannot be read: {why}.",
        why=failure.strerror or type(failure).__name__,
        field="repository",
        hint=N_("Mount it, or let the user of the plane read it; look at its disk."),
    )


def build_write_error(failure: OSError) -> SnapshotError:
    return SnapshotError(
        "snapshot_storage_unavailable",
        "The repository cannot be written: {why}.",
        why=failure.strerror or type(failure).__name__,
        field="repository",
        hint=N_("Make room or mount it again, and create the snapshot anew: what is stored already counts."),
    )
