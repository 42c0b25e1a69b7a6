"""Apply the layers of an image to a folder: whiteouts, links and files, none of which leads out of it.

No name of a layer is followed by the kernel alone: every folder on the way is looked at, and links are resolved with
the folder as their root. Nobody else writes there meanwhile. Owners, device nodes, set-uid bits and the rights of
groups are left out: the root is read by users that the image does not know, and is never written.
"""

from __future__ import annotations

import errno
import gzip
import hashlib
import io
import os
import shutil
import stat
import tarfile
import zlib
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

from apps.core.errors import PlaneError
from apps.platform.nodes.disks import read_disk
from deepseek.messages import N_
from deepseek.script.archive import open_zstd
from workers.images.headers import LimitedTar, UnsafeEntry
from workers.images.layout import Image, Layer, Layout, build_damage_error, build_image_error

CHUNK = 1 << 20
STREAM_BYTES = 1 << 15  # that tarfile reads ahead, and moves for every header
MAX_ENTRIES = 5_000_000
MAX_LINKS = 40  # of a path, as the kernel's
MAX_DEPTH = 200  # of a folder: deeper ones could not be removed again by rmtree, which calls itself
LAST_TIME = 2**33  # seconds; every file system has it
WHITEOUT, OPAQUE = ".wh.", ".wh..wh..opq"
GZIP, ZSTD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"
LAYER_FAULTS = frozenset(
    {None, errno.ENAMETOOLONG, errno.ENOENT, errno.ENOTDIR, errno.EEXIST, errno.EISDIR, errno.ENOTEMPTY}
    | {errno.ELOOP, errno.EMLINK, errno.EINVAL}
)
"""Of writing an entry: what the layer says cannot be done. Other errors are those of the disk."""


class TooLarge(Exception):
    """The layers are larger than this node unpacks."""


class DigestReader(io.RawIOBase):
    """Passes the first `size` bytes on and hashes them; calls `check` before each read."""

    def __init__(self, file: BinaryIO, size: int, check: Callable[[], None]) -> None:
        super().__init__()
        self._file, self._rest, self._check, self._hash = file, size, check, hashlib.sha256()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        self._check()
        data = self._file.read(min(len(buffer), self._rest))
        self._rest -= len(data)
        buffer[: len(data)] = data
        self._hash.update(data)
        return len(data)

    def finish(self) -> str:
        """Read what is left; the digest of all of it."""
        while self.read(CHUNK):
            pass
        return self._hash.hexdigest()


class Unpacker:
    """Writes layers to `root`. `check` is called often and may raise; `limit`: bytes of all layers, unpacked."""

    def __init__(self, root: Path, *, limit: int, check: Callable[[], None]) -> None:
        self._root = str(root)
        self._limit, self._check = limit, check
        self._streamed = self._stored = self._entries = 0
        self._own: set[str] = set()  # what the layer that is being applied has written
        self._last: tuple[list[str], str] | None = None  # the folder of the entry before, while no link has changed

    def apply(self, stream: Any) -> None:
        """Apply one layer, the bytes of a tar file."""
        self._own = set()
        counted = CountedReader(stream, self)
        with LimitedTar.open(fileobj=counted, mode="r|", bufsize=STREAM_BYTES) as tar:
            for member in tar:
                self._check()
                self._entries += 1
                if self._entries > MAX_ENTRIES:
                    raise UnsafeEntry(N_("its layers have too many entries"), str(MAX_ENTRIES))
                self._write_entry(tar, member)
                tar.members = []  # else the headers of all files stay in memory

    def count_streamed(self, size: int) -> None:
        self._streamed += size
        self._bound(self._streamed)

    def _bound(self, size: int) -> None:
        if size > self._limit:
            raise TooLarge

    def _write_entry(self, tar: tarfile.TarFile, member: tarfile.TarInfo) -> None:
        parts = split_name(member.name)
        if not parts:
            return
        if self._last is None or self._last[0] != parts[:-1]:
            self._last = parts[:-1], self._resolve(parts[:-1], member.name)
        folder, name = self._last[1], parts[-1]
        if name.startswith(WHITEOUT):
            self._apply_whiteout(folder, name, member.name)
            self._last = None
            return
        path = os.path.join(folder, name)
        if not member.isreg() or os.path.lexists(path):
            self._last = None
        if member.isdir():
            if not is_folder(path):
                remove(path)
                make_folder(path)
        elif member.isreg():
            remove(path)
            self._write_file(tar, member, path)
        elif member.issym():
            remove(path)
            os.symlink(member.linkname, path)
        elif member.islnk():
            target_parts = split_name(member.linkname)
            if not target_parts:
                raise UnsafeEntry(N_("a hard link leads to nothing"), member.name)
            target = os.path.join(self._resolve(target_parts[:-1], member.name), target_parts[-1])
            below = target.startswith(f"{path}/")  # it would go with the folder that the link replaces
            if below or not os.path.lexists(target) or is_folder(target):
                raise UnsafeEntry(N_("a hard link leads to nothing"), member.name)
            if not (os.path.lexists(path) and os.path.samestat(os.lstat(target), os.lstat(path))):
                remove(path)
                os.link(target, path, follow_symlinks=False)
        else:  # a device or a pipe: an attempt has a /dev of its own
            return
        self._own.add(path)

    def _write_file(self, tar: tarfile.TarFile, member: tarfile.TarInfo, path: str) -> None:
        source = tar.extractfile(member)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            while source is not None and (data := source.read(CHUNK)):
                self._check()
                self._stored += len(data)  # of a sparse file more than the layer holds
                self._bound(self._stored)
                file.write(data)
            os.fchmod(descriptor, 0o755 if member.mode & 0o111 else 0o644)
            file.flush()
            # Python trusts a compiled module only while its source has the time that it was compiled with.
            os.utime(descriptor, (min(max(0, member.mtime), LAST_TIME),) * 2)

    def _resolve(self, parts: list[str], name: str) -> str:
        """The folder that `parts` lead to below the root, made where it is missing; links stay inside."""
        resolved: list[str] = []
        pending, links = list(reversed(parts)), 0
        while pending:
            part = pending.pop()
            if part in ("", "."):
                continue
            if part == "..":
                resolved = resolved[:-1]
                continue
            path = os.path.join(self._root, *resolved, part)
            try:
                mode = os.lstat(path).st_mode
            except FileNotFoundError:
                make_folder(path)
                self._own.add(path)
                mode = stat.S_IFDIR
            if stat.S_ISLNK(mode):
                links += 1
                if links > MAX_LINKS:
                    raise UnsafeEntry(N_("links lead in a circle"), name)
                target = os.readlink(path)
                resolved = [] if target.startswith("/") else resolved
                pending += reversed(target.split("/"))
            elif stat.S_ISDIR(mode):
                resolved.append(part)
                if len(resolved) > MAX_DEPTH:
                    raise UnsafeEntry(N_("an entry lies too deep"), name)
            else:
                raise UnsafeEntry(N_("an entry lies below a file"), name)
        return os.path.join(self._root, *resolved)

    def _apply_whiteout(self, folder: str, name: str, entry: str) -> None:
        """Remove what layers below this one have: one entry, or all of the folder's."""
        if name == OPAQUE:
            self._clear(folder)
            return
        hidden = name.removeprefix(WHITEOUT)
        if hidden in ("", ".", ".."):
            raise UnsafeEntry(N_("an entry leads out of its root"), entry)
        path = os.path.join(folder, hidden)
        if hidden.startswith(WHITEOUT) or path in self._own or not os.path.lexists(path):
            return  # other marks are those of one storage driver
        self._remove_below(path)

    def _clear(self, folder: str) -> None:
        for entry in list(os.scandir(folder)):
            if entry.path in self._own:
                if entry.is_dir(follow_symlinks=False):
                    self._clear(entry.path)
            else:
                self._remove_below(entry.path)

    def _remove_below(self, path: str) -> None:
        if not is_folder(path):
            os.unlink(path)
            return
        self._clear(path)
        with suppress(OSError):  # this layer has something in it
            os.rmdir(path)


class CountedReader:
    """Bytes of a layer, counted as they come out of the decompression."""

    def __init__(self, stream: Any, unpacker: Unpacker) -> None:
        self._stream, self._unpacker = stream, unpacker

    def read(self, size: int) -> bytes:
        data: bytes = self._stream.read(size)
        self._unpacker.count_streamed(len(data))
        return data


def unpack_layers(image: Image, layout: Layout, root: Path, *, limit: int, check: Callable[[], None]) -> None:
    """Apply all layers of the image to the empty folder `root`.

    Raises PlaneError: ``image_damaged`` for a layer that is not what its digest says, ``bad_image`` for one that cannot
    be unpacked or leads out of the root, ``image_too_large``, also for what the disk has no room for; whatever `check`
    raises. `root` is of no use then.
    """
    sizes = [measure_layer(image, layout, layer) for layer in image.layers]
    refuse_short_disk(image, root, sum(sizes))  # a lower bound: most layers are compressed

    def check_all() -> None:
        check()
        refuse_short_disk(image, root)

    unpacker = Unpacker(root, limit=limit, check=check_all)
    for layer, size in zip(image.layers, sizes, strict=True):
        digest = f"sha256:{layer.digest}"
        with layout.open(layer.path) as file:
            reader = DigestReader(file, size, check)
            stream = decompress(reader)  # it would close the reader if it ended before the digest is known
            failure: PlaneError | None = None
            try:
                unpacker.apply(stream)
            except TooLarge:
                raise build_size_error(image, limit) from None
            except UnsafeEntry as refused:
                failure = build_image_error(image.path, refused.reason, detail=refused.name[:120])
            except (tarfile.TarError, EOFError, zlib.error, ValueError, RecursionError) as error:
                failure = build_image_error(image.path, N_("a layer cannot be unpacked"), detail=f"{digest}: {error}")
            except OSError as error:
                if error.errno not in LAYER_FAULTS or not root.is_dir():
                    raise
                failure = build_image_error(image.path, N_("a layer cannot be unpacked"), detail=f"{digest}: {error}")
            if reader.finish() != layer.digest:
                raise build_damage_error(image.path, digest) from failure
            if failure is not None:
                raise failure


def measure_layer(image: Image, layout: Layout, layer: Layer) -> int:
    """The bytes of the layer as it is packed; raises PlaneError ``image_damaged`` if it says another number."""
    with layout.open(layer.path) as file:
        size = file.seek(0, os.SEEK_END)
    if layer.size not in (None, size):
        raise build_damage_error(image.path, f"sha256:{layer.digest}")
    return size


def refuse_short_disk(image: Image, root: Path, size: int = 0) -> None:
    """Raise PlaneError ``image_too_large`` where `size` more bytes leave less free than a disk of the plane needs."""
    disk = read_disk("home", root)
    if disk.free_bytes - size < disk.needed_bytes:
        raise PlaneError(
            "The disk of the node has no room to unpack the image {path}.",
            path=str(image.path),
            code="image_too_large",
            field="/spec/environment",
            limit=max(0, disk.free_bytes - disk.needed_bytes),
            hint=N_("Free space on the disk of PLANE_HOME of the node, and submit the job again."),
        )


def decompress(reader: DigestReader) -> Any:
    """The tar file in a layer, by its first bytes: gzip, zstd, or as it is."""
    buffered = io.BufferedReader(reader, CHUNK)
    start = buffered.peek(4)[:4]
    if start.startswith(GZIP):
        return gzip.GzipFile(fileobj=buffered)
    if start == ZSTD:
        return open_zstd(buffered)
    return buffered


def split_name(name: str) -> list[str]:
    """The parts of an entry's path; raises UnsafeEntry for one that leads upwards."""
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if ".." in parts:
        raise UnsafeEntry(N_("an entry leads out of its root"), name)
    return parts


def is_folder(path: str) -> bool:
    return os.path.isdir(path) and not os.path.islink(path)


def make_folder(path: str) -> None:
    """A folder that every user may enter, whatever the umask of the worker is."""
    os.mkdir(path)
    os.chmod(path, 0o755)  # noqa: S103


def remove(path: str) -> None:
    """Remove what is at the path, if anything is; a link itself, never what it leads to."""
    if is_folder(path):
        shutil.rmtree(path)
    elif os.path.lexists(path):
        os.unlink(path)


def build_size_error(image: Image, limit: int) -> PlaneError:
    return PlaneError(
        "The image {path} is larger than this node unpacks.",
        path=str(image.path),
        code="image_too_large",
        field="/spec/environment",
        limit=limit,
        hint=N_("Make it smaller, or raise SCRIPT_IMAGE_LIMIT_BYTES of the worker."),
    )
