"""The store in a folder: the default, on a disk or a shared mount."""

from __future__ import annotations

import fcntl
import os
import secrets
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from errno import EMLINK, ENOTSUP, EPERM
from pathlib import Path

from apps.core.errors import Unavailable
from apps.platform.artifacts.digests import DIGEST, validate_digest
from apps.platform.artifacts.store import STALE, Reading, Staging, Store, StoredObject, validate_area_names
from apps.platform.artifacts.write_behind import WriteBehind, write_all
from apps.platform.audit.faults import translate_disk_fault
from deepseek.messages import N_

SMALL = 8 << 20  # bytes of a file that one thread hashes and writes
UNLOCKED_SECONDS = 5.0
NO_LINKS = {EPERM, ENOTSUP, EMLINK}  # file systems of some network shares


@contextmanager
def translate_disk_errors() -> Iterator[None]:
    """A full, read-only or over-quota disk becomes the named error."""
    try:
        yield
    except OSError as error:
        translated = translate_disk_fault(error)
        if translated is None:
            raise
        raise translated from error


class LocalStaging(Staging):
    """A file that only this writer knows, read-only from its birth; published by a hard link."""

    def __init__(self, store: LocalStore, with_chunks: bool = True) -> None:
        super().__init__(with_chunks=with_chunks and not store.is_area)  # what is in an area is read whole or not
        self.store = store
        self.path = store.staging / secrets.token_hex(16)
        with translate_disk_errors():
            store.staging.mkdir(parents=True, exist_ok=True, mode=0o700)
            self.fd = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o400)
        self.behind: WriteBehind | None = None  # of a small file, starting a thread would cost more than it saves

    def _append(self, chunk: bytes | memoryview) -> None:
        if self.behind is None and self.size > SMALL:
            self.behind = WriteBehind(self.fd, self._hash.update_chunks)
        try:
            with translate_disk_errors():
                if self.behind is None:
                    write_all(self.fd, memoryview(chunk))
                    self._hash.update_chunks(chunk)
                else:
                    self.behind.write(chunk)
        except BaseException:
            self.discard()
            raise

    def _commit(self, digest: str) -> None:
        with translate_disk_errors():
            if self.behind is not None:
                self.behind.wait()
            os.fsync(self.fd)
            final = self.store.path_of(digest)
            final.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._place(final)
            for folder in (final.parent, final.parent.parent):
                sync_folder(folder)
        self._drop()

    def _place(self, final: Path) -> None:
        """A link never overwrites: of two writers of equal bytes the second finds the work done."""
        digest = final.parent.name + final.name
        if self.overwrites:
            os.replace(self.path, final)
            return
        try:
            os.link(self.path, final)
        except FileExistsError:
            # A stat is cheap: of another size they are certainly other bytes.
            if final.stat().st_size != self.size or self._is_damaged(digest):
                self.store.set_aside(digest)
                self.replaced = True
                with suppress(FileExistsError):  # another writer of equal bytes was faster
                    os.link(self.path, final)
            else:
                touch(final)
        except OSError as error:
            if error.errno not in NO_LINKS:
                raise
            os.rename(self.path, final)  # overwrites, but only by equal bytes

    def _drop(self) -> None:
        if self.behind is not None:
            self.behind.stop()
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1
        self.path.unlink(missing_ok=True)


class LocalStore(Store):
    """A folder, on a disk or a shared mount: `sha256/ab/cdef...`, `staging/`, `damaged/`."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.staging = root / "staging"
        self.damaged = root / "damaged"
        self.objects_at = f"{root}/sha256"  # as text: building paths of ten thousand objects takes longer than a stat

    def area(self, *names: str) -> Store:
        inside = LocalStore(self.root.joinpath(*validate_area_names(names)))
        inside.is_area = True
        return inside

    def areas(self) -> list[str]:
        with suppress(FileNotFoundError):
            return sorted(entry.name for entry in self.root.iterdir() if entry.is_dir())
        return []

    def _remove(self, digest: str) -> None:
        self.path_of(digest).unlink(missing_ok=True)

    def _clear(self) -> None:
        with suppress(FileNotFoundError):
            shutil.rmtree(self.root)

    def path_of(self, digest: str) -> Path:
        validate_digest(digest)
        return self.root / "sha256" / digest[:2] / digest[2:]

    def open_staging(self, expected_digest: str | None = None, *, with_chunks: bool = True) -> Staging:
        return LocalStaging(self, with_chunks)

    def open(self, digest: str, start: int = 0, end: int | None = None) -> Reading:
        return Reading(self.path_of(digest).open("rb", buffering=0), start, end)

    def size(self, digest: str) -> int:
        validate_digest(digest)
        return os.stat(f"{self.objects_at}/{digest[:2]}/{digest[2:]}").st_size

    def check(self) -> None:
        if not (self.root / "sha256").is_dir():
            raise Unavailable(
                "The artifact folder {root} is not there.",
                root=self.root,
                code="store_unreachable",
                hint=N_("Mount it, or set ARTIFACT_URL to where it is now."),
            )

    def objects(self) -> Iterator[StoredObject]:
        with suppress(FileNotFoundError):
            for folder in sorted(entry.name for entry in os.scandir(self.root / "sha256") if entry.is_dir()):
                with os.scandir(self.root / "sha256" / folder) as entries:
                    listing = [(folder + entry.name, entry.stat()) for entry in entries]
                yield from (
                    StoredObject(digest, about.st_size, about.st_ctime)
                    for digest, about in sorted(listing)
                    if DIGEST.fullmatch(digest)
                )

    def touched(self, digest: str) -> float:
        # Not the time of the contents: an object that is a link to a file of a dataset has that file's.
        return self.path_of(digest).stat().st_ctime

    def set_aside(self, digest: str) -> None:
        self.damaged.mkdir(parents=True, exist_ok=True, mode=0o700)
        with suppress(FileNotFoundError):
            os.rename(self.path_of(digest), self.damaged / f"{digest}.{time.time_ns()}")

    def count_set_aside(self) -> int:
        with suppress(FileNotFoundError):
            return sum(1 for _ in self.damaged.iterdir())
        return 0

    def sweep(self, older_than: timedelta = STALE) -> int:
        oldest = time.time() - older_than.total_seconds()
        removed = 0
        if not self.staging.is_dir():
            return 0
        for path in self.staging.iterdir():
            with suppress(FileNotFoundError):  # its writer was faster
                if path.is_dir():
                    removed += sweep_folder(path)
                elif path.stat().st_mtime <= oldest:
                    path.unlink()
                    removed += 1
        return removed


def sweep_folder(folder: Path) -> int:
    """Remove the folder of an intake (artifacts/intake.py) whose process is gone: its lock is free. Files gone."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if time.time() - os.fstat(handle).st_ctime < UNLOCKED_SECONDS:  # just made, about to be locked
            return 0
        count = sum(1 for _ in folder.iterdir())
        shutil.rmtree(folder, ignore_errors=True)
        return count
    except BlockingIOError:
        return 0
    finally:
        os.close(handle)


def touch(path: Path) -> None:
    """Say that a writer of equal bytes counts on this object; its contents keep their time."""
    about = path.stat()
    with suppress(PermissionError):  # an object that another account wrote: its row says the same a moment later
        os.utime(path, ns=(about.st_atime_ns, about.st_mtime_ns))


def sync_folder(folder: Path) -> None:
    """Make the names in a folder survive a power cut."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
