"""The store: bytes by their SHA-256, written once. A folder by default, an S3-compatible store by ARTIFACT_URL.

Nothing that a user typed becomes a path: names are digests, checked, or random. A reader sees an object whole or
not at all; what is being written lies apart, in staging.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import secrets
import shutil
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import timedelta
from errno import EMLINK, ENOTSUP, EPERM
from functools import lru_cache
from pathlib import Path
from types import TracebackType
from typing import IO, NamedTuple, Self
from urllib.parse import unquote, urlsplit

from django.conf import settings

from apps.artifacts.behind import WriteBehind, write_all
from apps.artifacts.digests import DIGEST, checked_digest, mismatch
from apps.audit.faults import disk_fault
from apps.errors import Malformed, Unavailable

CHUNK = 1 << 20
SMALL = 8 << 20  # bytes of a file that one thread hashes and writes
STALE = timedelta(hours=24)  # a staging file that nobody wrote to for so long has lost its writer
UNLOCKED_SECONDS = 5.0
AREA = re.compile(r"[a-z0-9][a-z0-9-]{0,79}")
NO_LINKS = {EPERM, ENOTSUP, EMLINK}  # file systems of some network shares


class Staging(ABC):
    """Bytes on their way in: write, then publish or discard. As a context it discards what was not published."""

    def __init__(self) -> None:
        self._hash = hashlib.sha256()
        self.size = 0
        self.ended = False

    @property
    def digest(self) -> str:
        """SHA-256 of what was written so far, in hex."""
        return self._hash.hexdigest()

    def write(self, chunk: bytes) -> None:
        """Append bytes; StorageFull (and nothing stays behind) when the disk is full."""
        self._hash.update(chunk)
        self.size += len(chunk)
        self._append(chunk)

    def publish(self, expected_digest: str | None = None, expected_size: int | None = None) -> tuple[str, int]:
        """Make the bytes an object and return (digest, size); equal bytes already there stay as they are.

        Raises Invalid (`digest_mismatch`) or Malformed (`body_cut_off`), and discards, when they are not what was
        announced.
        """
        try:
            if expected_size is not None and self.size != expected_size:
                raise cut_off(self.size, expected_size)
            if expected_digest is not None and self.digest != expected_digest:
                raise mismatch(expected_digest, self.digest)
            self._commit(self.digest)
        except BaseException:
            self.discard()
            raise
        self.ended = True
        return self.digest, self.size

    def discard(self) -> None:
        """Forget everything that was written. Harmless after a publish."""
        if not self.ended:
            self.ended = True
            self._drop()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.discard()

    @abstractmethod
    def _append(self, chunk: bytes) -> None: ...

    @abstractmethod
    def _commit(self, digest: str) -> None: ...

    @abstractmethod
    def _drop(self) -> None: ...


class Reading:
    """An object being read, from `start` up to `end`, in chunks. The file is open from the beginning."""

    def __init__(self, file: IO[bytes], start: int, end: int | None) -> None:
        self.file = file
        self.left = None if end is None else end - start
        if start:
            file.seek(start)

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        wanted = CHUNK if self.left is None else min(CHUNK, self.left)
        chunk = self.file.read(wanted) if wanted else b""
        if not chunk:
            self.close()
            raise StopIteration
        if self.left is not None:
            self.left -= len(chunk)
        return chunk

    def close(self) -> None:
        self.file.close()


class StoredObject(NamedTuple):
    """An object as the store lists it; `touched` as of Store.touched."""

    digest: str
    size: int
    touched: float


class Store(ABC):
    """What both stores can do. Digests are 64 lower-case hex digits; anything else is Invalid (`bad_digest`).

    Objects of the store itself go only through `collect`, which apps/artifacts/garbage.py alone calls, with the row
    of the digest locked: an upload of equal bytes finds the object there and counts on it. An area has one writer, and
    no row of another names what it holds: that writer may remove, and whoever knows that it has ended may clear.
    """

    is_area = False

    @abstractmethod
    def area(self, *names: str) -> Store:
        """A store inside this one, at names of small letters, digits and hyphens; equal bytes are stored again."""

    @abstractmethod
    def areas(self) -> list[str]:
        """The names of the areas that lie directly in this area, also of those just being cleared."""

    def remove(self, digest: str) -> None:
        """Forget an object of an area; harmless when there is none."""
        self._only_of_an_area()
        self._remove(digest)

    def clear(self) -> None:
        """Forget an area whole, with what interrupted writers left in it; harmless when there is none."""
        self._only_of_an_area()
        self._clear()

    def _only_of_an_area(self) -> None:
        if not self.is_area:
            raise ValueError("the store itself forgets nothing")

    @abstractmethod
    def _remove(self, digest: str) -> None: ...

    @abstractmethod
    def _clear(self) -> None: ...

    def collect(self, digest: str) -> None:
        """Forget an object that nothing cites; harmless when there is none. Only for who holds the lock on its row."""
        self._remove(digest)

    @abstractmethod
    def objects(self) -> Iterator[StoredObject]:
        """Every object of the store itself, in the order of the digests; not those of its areas."""

    @abstractmethod
    def touched(self, digest: str) -> float:
        """When the object was last written, or found by a writer of equal bytes (seconds since 1970)."""

    @abstractmethod
    def open_staging(self, expected_digest: str | None = None) -> Staging:
        """Begin to write. A digest known beforehand saves an S3 store a copy; it still has to be checked."""

    @abstractmethod
    def open(self, digest: str, start: int = 0, end: int | None = None) -> Reading:
        """The bytes from `start` up to, not including, `end`; FileNotFoundError at once if there are none."""

    @abstractmethod
    def size(self, digest: str) -> int:
        """Bytes; FileNotFoundError if there is no such object."""

    @abstractmethod
    def check(self) -> None:
        """Unavailable if the store as a whole is not there (an unmounted share), so that no scrub calls it damage."""

    @abstractmethod
    def set_aside(self, digest: str) -> None:
        """Move a damaged object out of the way, so that the same bytes can be stored anew."""

    @abstractmethod
    def sweep(self, older_than: timedelta = STALE) -> int:
        """Remove what interrupted writers left behind; how many."""

    def lacking(self, sizes: Mapping[str, int]) -> set[str]:
        """Those of these digests of which there is no object, or none of this size."""
        return {digest for digest, size in sizes.items() if not self._has(digest, size)}

    def _has(self, digest: str, size: int) -> bool:
        try:
            return self.size(digest) == size
        except FileNotFoundError:
            return False

    def exists(self, digest: str) -> bool:
        try:
            self.size(digest)
        except FileNotFoundError:
            return False
        return True

    def verify(self, digest: str) -> bool:
        """Read the object whole: whether its bytes are what its name says. FileNotFoundError if there is none."""
        sha256 = hashlib.sha256()
        for chunk in self.open(digest):
            sha256.update(chunk)
        return sha256.hexdigest() == digest


def checked_names(names: tuple[str, ...]) -> tuple[str, ...]:
    """The names of an area, safe in a path."""
    for name in names:
        if not AREA.fullmatch(name):
            raise ValueError(f"{name!r} is no name of an area")
    return names


def cut_off(size: int, expected: int) -> Malformed:
    return Malformed(
        f"The body ended after {size} of {expected} bytes; nothing was stored.",
        code="body_cut_off",
        field="Content-Length",
        limit=expected,
        hint="Send it again.",
    )


@contextmanager
def full_disk_named() -> Iterator[None]:
    """A full, read-only or over-quota disk becomes the named error."""
    try:
        yield
    except OSError as error:
        named = disk_fault(error)
        if named is None:
            raise
        raise named from error


class LocalStaging(Staging):
    """A file that only this writer knows, read-only from its birth; published by a hard link."""

    def __init__(self, store: LocalStore) -> None:
        super().__init__()
        self.store = store
        self.path = store.staging / secrets.token_hex(16)
        with full_disk_named():
            store.staging.mkdir(parents=True, exist_ok=True, mode=0o700)
            self.fd = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o400)
        self.behind: WriteBehind | None = None  # of a small file, starting a thread would cost more than it saves

    def _append(self, chunk: bytes) -> None:
        if self.behind is None and self.size > SMALL:
            self.behind = WriteBehind(self.fd)
        try:
            with full_disk_named():
                if self.behind is None:
                    write_all(self.fd, memoryview(chunk))
                else:
                    self.behind.write(chunk)
        except BaseException:
            self.discard()
            raise

    def _commit(self, digest: str) -> None:
        with full_disk_named():
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
        try:
            os.link(self.path, final)
        except FileExistsError:
            if final.stat().st_size != self.size:  # a stat is cheap, and these are certainly other bytes
                self.store.set_aside(final.parent.name + final.name)
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
        inside = LocalStore(self.root.joinpath(*checked_names(names)))
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
        checked_digest(digest)
        return self.root / "sha256" / digest[:2] / digest[2:]

    def open_staging(self, expected_digest: str | None = None) -> Staging:
        return LocalStaging(self)

    def open(self, digest: str, start: int = 0, end: int | None = None) -> Reading:
        return Reading(self.path_of(digest).open("rb", buffering=0), start, end)

    def size(self, digest: str) -> int:
        checked_digest(digest)
        return os.stat(f"{self.objects_at}/{digest[:2]}/{digest[2:]}").st_size

    def check(self) -> None:
        if not (self.root / "sha256").is_dir():
            raise Unavailable(
                f"The artifact folder {self.root} is not there.",
                code="store_unreachable",
                hint="Mount it, or set ARTIFACT_URL to where it is now.",
            )

    def objects(self) -> Iterator[StoredObject]:
        with suppress(FileNotFoundError):
            for folder in sorted(entry.name for entry in os.scandir(self.root / "sha256") if entry.is_dir()):
                with os.scandir(self.root / "sha256" / folder) as entries:
                    found = [(folder + entry.name, entry.stat()) for entry in entries]
                yield from (
                    StoredObject(digest, about.st_size, about.st_ctime)
                    for digest, about in sorted(found)
                    if DIGEST.fullmatch(digest)
                )

    def touched(self, digest: str) -> float:
        # Not the time of the contents: an object that is a link to a file of a dataset has that file's.
        return self.path_of(digest).stat().st_ctime

    def set_aside(self, digest: str) -> None:
        self.damaged.mkdir(parents=True, exist_ok=True, mode=0o700)
        with suppress(FileNotFoundError):
            os.rename(self.path_of(digest), self.damaged / f"{digest}.{time.time_ns()}")

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
    """Remove the folder of an intake (apps/artifacts/intake.py) whose process is gone: its lock is free. Files gone."""
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


def store() -> Store:
    """The store of this process, as the environment names it. Per process: an S3 client does not survive a fork."""
    return store_at(settings.ENV.artifact_url, str(settings.PLANE_HOME), settings.ENV.artifact_s3_endpoint, os.getpid())


def store_folder() -> Path | None:
    """The folder of the artifacts on this host; None where they are elsewhere."""
    at = store()
    return at.root if isinstance(at, LocalStore) else None


@lru_cache(maxsize=8)
def store_at(url: str, home: str, endpoint: str, pid: int) -> Store:
    if url.startswith("s3://"):
        from apps.artifacts.s3 import S3Store  # s3fs is installed only where ARTIFACT_URL asks for it

        return S3Store(url.removeprefix("s3://"), endpoint)
    return LocalStore(Path(unquote(urlsplit(url).path)) if url else Path(home) / "artifacts")
