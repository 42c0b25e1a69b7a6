"""Many local files into the store at once: hashed by threads, made durable together, then given their names together.

Nothing has its name in the store before its bytes survive a power cut: all files of an intake are written under other
names, one sync makes them durable (of few files: fsync; of many: syncfs, which costs one flush instead of thousands),
then they are renamed, then the folders that hold the names are synced. An intake that is killed leaves a folder in
staging whose lock is free; the next intake and the hourly sweep remove it.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import secrets
import shutil
import stat
import time
from collections.abc import Collection, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Literal, NamedTuple, Self

from apps.core.errors import Conflict, Invalid
from apps.platform.artifacts.digests import ContentHash
from apps.platform.artifacts.local_store import (
    SMALL,
    LocalStore,
    sweep_folder,
    sync_folder,
    touch,
    translate_disk_errors,
)
from apps.platform.artifacts.write_behind import Flushing, write_all
from deepseek.messages import N_

Mode = Literal["copy", "link"]
PIECE = 4 << 20  # of a large file, which is hashed by one thread while another one writes
ONE_BY_ONE = 16  # files that are synced each by itself; of more, their file system is
HEAD, TAIL = 64 << 10, 64  # bytes that the caller may look at, to tell what is in a file
OLD = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
NEW_SECONDS = 1.0  # a file changed so shortly before it was read might change again within one tick of its clock


class About(NamedTuple):
    """What tells one state of a file from another without reading it. Times in nanoseconds since 1970."""

    size: int
    mtime_ns: int
    ctime_ns: int
    inode: int
    device: int

    @classmethod
    def of(cls, stat: os.stat_result) -> About:
        return cls(stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino, stat.st_dev)


@dataclass(slots=True)
class ReadFile:
    """A file whose bytes are in the intake. `about`: its state when it was read, None where it may change unseen."""

    digest: str
    size: int
    head: bytes
    tail: bytes
    about: About | None = None
    linked: bool = False
    was_there: bool = False  # the store had these bytes
    chunks: bytes = b""  # as of StoredBytes, as is `replaced`
    replaced: bool = False


class Intake:
    """Into a store in a folder. `take` may be called by many threads, then `finish` once; leaving without it drops all.

    `durable` False leaves out what makes bytes survive a power cut: to compare with programs that do not sync either.
    `damaged`: digests whose objects, if there are any, are not trusted but replaced.
    """

    def __init__(
        self, store: LocalStore, *, mode: Mode = "copy", durable: bool = True, damaged: Collection[str] = ()
    ) -> None:
        self.store, self.mode, self.durable, self.damaged = store, mode, durable, damaged
        self.staged: set[str] = set()
        self.not_linked: dict[Path, str] = {}  # copied instead, and why
        self.linked: list[tuple[Path, ReadFile]] = []
        self.folder = store.staging / f"intake-{secrets.token_hex(16)}"
        # As text: of ten thousand small files, building their paths would cost more than reading them.
        self.place, self.objects = str(self.folder), f"{store.root}/sha256"

    def __enter__(self) -> Self:
        with translate_disk_errors():
            self.store.staging.mkdir(parents=True, exist_ok=True, mode=0o700)
            for left in self.store.staging.glob("intake-*"):
                with suppress(FileNotFoundError):
                    sweep_folder(left)
            self.folder.mkdir(mode=0o700)
            self.lock = os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            fcntl.flock(self.lock, fcntl.LOCK_EX)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)
        os.close(self.lock)

    def take(self, path: Path | str, real: str = "") -> ReadFile:
        """Read one file whole and stage its bytes; `real` as of `opened`. Raises Invalid (`file_unreadable`,
        `not_a_file`), Conflict (`file_changed`), StorageFull; each names the path.
        """
        with opened(path, real) as fd:
            before = os.fstat(fd)
            if not stat.S_ISREG(before.st_mode):
                refuse_special(Path(path), before.st_mode)
            link = self.mode == "link" and before.st_size > 0
            if before.st_size <= SMALL:
                read_file = self._take_small(fd, before, link)
            else:
                read_file = self._take_large(fd, before, link)
            after = os.fstat(fd)
        if get_change_stamp(before) != get_change_stamp(after) or read_file.size != before.st_size:
            raise build_changed_error(Path(path))
        if link:
            after = self._link(Path(path), after, read_file)
        if time.time_ns() - after.st_mtime_ns > NEW_SECONDS * 1e9:
            read_file.about = About.of(after)
        return read_file

    def finish(self) -> None:
        """Give everything its name. Afterwards what was taken is in the store, and survives a power cut."""
        with translate_disk_errors():
            names = sorted(self.staged)
            if self.durable:
                self._sync(names)
            created: set[str] = set()
            for digest in names:
                folder = f"{self.objects}/{digest[:2]}"
                if folder not in created:
                    os.makedirs(folder, mode=0o700, exist_ok=True)
                    created.add(folder)
                os.rename(f"{self.place}/{digest}", f"{folder}/{digest[2:]}")  # overwrites, but only by equal bytes
            if self.durable and created:
                self._sync_names({Path(folder) for folder in created})
        for (
            path,
            read_file,
        ) in self.linked:  # the last rename was a change of the file's own record, not of its contents
            now = os.stat(path, follow_symlinks=False)
            before = read_file.about
            if before is not None and (before.size, before.mtime_ns, before.inode) == get_change_stamp(now)[:3]:
                read_file.about = About.of(now)

    # -- one file ---------------------------------------------------------------------------------------------------
    def _take_small(self, fd: int, before: os.stat_result, link: bool) -> ReadFile:
        data = os.read(fd, before.st_size + 1)
        while len(data) < before.st_size and (more := os.read(fd, before.st_size + 1 - len(data))):
            data += more
        content_hash = ContentHash()
        content_hash.update(data)
        read_file = ReadFile(
            content_hash.hexdigest(), len(data), data[:HEAD], data[-TAIL:], chunks=content_hash.chunks()
        )
        if len(data) == before.st_size and not link and not self._is_stored(read_file):
            self._write(f"{self.place}/{read_file.digest}", data)
            self.staged.add(read_file.digest)
        return read_file

    def _write(self, name: str, data: bytes) -> None:
        with translate_disk_errors():
            try:
                target = os.open(name, NEW, 0o400)
            except FileExistsError:  # another thread has equal bytes
                return
            try:
                if os.write(target, data) < len(data):
                    os.lseek(target, 0, os.SEEK_SET)
                    write_all(target, memoryview(data))
            finally:
                os.close(target)

    def _take_large(self, fd: int, before: os.stat_result, link: bool) -> ReadFile:
        if link:
            return read_through(fd, None)
        name = self.folder / f"large-{secrets.token_hex(8)}"
        with translate_disk_errors():
            target = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o400)
            try:
                read_file = read_through(fd, target, flush=self.durable)
                if self.durable:
                    os.fsync(target)
            finally:
                os.close(target)
        if self._is_stored(read_file):
            name.unlink()
        else:
            os.rename(name, self.folder / read_file.digest)
            self.staged.add(read_file.digest)
        return read_file

    def _is_stored(self, read_file: ReadFile) -> bool:
        """Whether the store has these bytes; then they are touched, so that they are no garbage."""
        final = f"{self.objects}/{read_file.digest[:2]}/{read_file.digest[2:]}"  # of a digest that was computed here
        try:
            if os.stat(final).st_size != read_file.size or read_file.digest in self.damaged:
                self.store.set_aside(read_file.digest)
                read_file.replaced = True
                return False
        except FileNotFoundError:
            return False
        touch(Path(final))
        read_file.was_there = True
        return True

    def _link(self, path: Path, read: os.stat_result, read_file: ReadFile) -> os.stat_result:
        """Let the store's name be another name of this very file, read-only from now on; copy it where that fails."""
        if self._is_stored(read_file):
            return read
        target = self.folder / read_file.digest
        try:
            os.link(path, target, follow_symlinks=False)
        except FileExistsError:
            return read  # another thread has equal bytes
        except OSError as error:
            self.not_linked[path] = error.strerror or str(error)
            return self._copy_instead(path, read, read_file)
        linked = os.stat(target, follow_symlinks=False)
        if get_change_stamp(linked) != get_change_stamp(read):
            target.unlink()
            raise build_changed_error(path)
        if linked.st_uid != os.geteuid():  # its owner could make it writable again, behind the store's back
            target.unlink()
            self.not_linked[path] = "it belongs to another account"
            return self._copy_instead(path, read, read_file)
        if linked.st_mode & 0o222:
            try:
                os.chmod(target, stat.S_IMODE(linked.st_mode) & ~0o222)
            except OSError as error:
                target.unlink()
                self.not_linked[path] = f"it cannot be made read-only ({error.strerror})"
                return self._copy_instead(path, read, read_file)
            linked = os.stat(target, follow_symlinks=False)
        self.staged.add(read_file.digest)
        read_file.linked = True
        self.linked.append((path, read_file))
        return linked

    def _copy_instead(self, path: Path, read: os.stat_result, read_file: ReadFile) -> os.stat_result:
        with opened(path) as fd:
            again = (self._take_small if read.st_size <= SMALL else self._take_large)(fd, read, False)
            after = os.fstat(fd)
        if again.digest != read_file.digest or get_change_stamp(after) != get_change_stamp(read):
            raise build_changed_error(path)
        return after

    # -- all of them ------------------------------------------------------------------------------------------------
    def _sync(self, names: list[str]) -> None:
        if len(names) > ONE_BY_ONE and sync_file_system(self.lock):
            return
        for name in names:
            sync_file(self.folder / name)

    def _sync_names(self, folders: set[Path]) -> None:
        if len(folders) > ONE_BY_ONE and sync_file_system(self.lock):
            return
        for folder in {*folders, *(entry.parent for entry in folders)}:
            sync_folder(folder)


class opened:
    """A file descriptor of the file itself, never of what a link names; Invalid where it cannot be read.

    `real`: where the file lies, without links. Conflict where it was opened somewhere else: a folder on the way to it
    has become a link, by which somebody might have this account read what it alone may.
    """

    def __init__(self, path: Path | str, real: str = "") -> None:
        self.path, self.real = path, real

    def __enter__(self) -> int:
        try:
            self.fd = os.open(self.path, OLD)
        except OSError as error:
            raise build_unreadable_error(Path(self.path), error) from error
        if self.real and os.readlink(f"/proc/self/fd/{self.fd}") != self.real:
            os.close(self.fd)
            raise build_changed_error(Path(self.path))
        return self.fd

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        os.close(self.fd)
        if isinstance(error, OSError):
            raise build_unreadable_error(Path(self.path), error) from error


def get_change_stamp(stat: os.stat_result) -> tuple[int, int, int, int]:
    """What would differ, had the file been written to or replaced."""
    return stat.st_size, stat.st_mtime_ns, stat.st_ino, stat.st_dev


def read_through(source: int, target: int | None, *, flush: bool = False) -> ReadFile:
    """Read `source` to its end; write it to `target`, if there is one.

    Two threads hash a piece, whole and by chunks, while this one writes it and reads the next; `flush` starts writing
    to the disk meanwhile.
    """
    content_hash = ContentHash()
    size = 0
    head = tail = b""
    buffers = [bytearray(PIECE) for _ in range(4)]
    waiting: list[list[Future[None]]] = [[] for _ in buffers]
    with ThreadPoolExecutor(1) as hashing, ThreadPoolExecutor(1) as chunking, Flushing() as flushing:
        for turn in cycle_indexes(len(buffers)):
            for before in waiting[turn]:
                before.result()
            count = os.readv(source, [buffers[turn]])
            if not count:
                break
            piece = memoryview(buffers[turn])[:count]
            head, tail = head or bytes(piece[:HEAD]), (tail + bytes(piece[-TAIL:]))[-TAIL:]
            waiting[turn] = [
                hashing.submit(content_hash.update_whole, piece),
                chunking.submit(content_hash.update_chunks, piece),
            ]
            size += count
            if target is None:
                continue
            write_all(target, piece)
            if flush:
                flushing.wrote(target, count)
        for each in [read_ahead for reads in waiting for read_ahead in reads]:
            each.result()
        flushing.wait()
    return ReadFile(content_hash.hexdigest(), size, head, tail, chunks=content_hash.chunks())


def cycle_indexes(count: int) -> Iterator[int]:
    while True:
        yield from range(count)


def sync_file(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def sync_file_system(fd: int) -> bool:
    """Make everything written to the file system of `fd` durable, with one flush; False where the system has no such
    call. Linux waits for the disk, and since 5.8 tells of what could not be written.
    """
    call = getattr(ctypes.CDLL(None, use_errno=True), "syncfs", None)
    if call is None:
        return False
    if call(fd) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return True


def refuse_special(path: Path, mode: int) -> None:
    """Raise Invalid for what is no regular file: a link, a device, a socket, a pipe."""
    if stat.S_ISREG(mode):
        return
    kinds = {
        stat.S_IFLNK: "a symbolic link",
        stat.S_IFDIR: "a folder",
        stat.S_IFIFO: "a pipe",
        stat.S_IFSOCK: "a socket",
    }
    raise Invalid(
        "{path} is {kind}.",
        path=path,
        kind=kinds.get(stat.S_IFMT(mode), "a device"),
        code="not_a_file",
        field="path",
        limit="regular files, and folders of such",
        hint=N_("Put the file itself there, or take this out of the folder."),
    )


def build_unreadable_error(path: Path, error: OSError) -> Invalid:
    if path.is_symlink():
        with suppress(OSError):
            refuse_special(path, path.lstat().st_mode)
    return Invalid(
        "{path} cannot be read: {strerror}.",
        path=path,
        strerror=error.strerror or error,
        code="file_unreadable",
        field="path",
        limit="files that the plane's account may read",
        hint=N_("Give it the right to, or take the file out of the folder. Nothing was registered."),
    )


def build_changed_error(path: Path) -> Conflict:
    return Conflict(
        "{path} changed while it was read.",
        path=path,
        code="file_changed",
        field="path",
        hint=N_("Ingest again once nothing writes to it. Nothing was registered."),
    )
