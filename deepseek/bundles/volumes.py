"""Volumes: tar files in one fixed form, of which every single byte is verified in one pass.

Headers carry no time, owner or mode of a machine, so the reader builds the header that must be there and compares it:
a flipped bit in a header, in the padding or behind the end is found like one in an object. `tar tf` lists a volume.
"""

from __future__ import annotations

import hashlib
import io
import os
import tarfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol

from deepseek.bundles.errors import TransferError
from deepseek.bundles.spec import (
    MAX_PARTS,
    MAX_VOLUME_MANIFEST_BYTES,
    PART_BYTES,
    ObjectRef,
    Part,
    VolumeRef,
    encode_volume_manifest,
    format_volume_name,
    parse_volume_manifest,
)

BLOCK = 512
CHUNK_BYTES = 4 << 20
END = bytes(2 * BLOCK)
MANIFEST_NAME = "volume.json"
PART_ROW_BYTES = 300  # of a part in the manifest of its volume, at most
OVERHEAD_BYTES = 4096  # of a volume: its manifest without parts, two headers, the end


Count = Callable[[int], object]
"""Is told how many more bytes are done; whatever it raises ends the pass."""


class OpenObject(Protocol):
    """Opens the bytes of an object from `start` up to `end`, in chunks."""

    def __call__(self, digest: str, start: int, end: int, /) -> Iterable[bytes]: ...


def encode_header(name: str, size: int) -> bytes:
    """The one header that a member of this name and size has."""
    info = tarfile.TarInfo(name)
    info.size, info.mode, info.mtime = size, 0o444, 0
    return info.tobuf(format=tarfile.USTAR_FORMAT)


def pad_size(size: int) -> int:
    return -size % BLOCK


# -- planning -------------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Slice:
    """Part of an object whose digest may not be computed yet."""

    object: ObjectRef
    offset: int
    size: int

    @property
    def is_last(self) -> bool:
        return self.offset + self.size == self.object.size


def plan_volumes(objects: Iterable[ObjectRef], volume_bytes: int) -> list[list[Slice]]:
    """Which objects go into which volume, in order. One that fits into a volume goes whole; a longer one in parts."""
    capacity = volume_bytes - OVERHEAD_BYTES
    volumes: list[list[Slice]] = [[]]
    free = capacity

    def start_volume() -> None:
        nonlocal free
        if volumes[-1]:
            volumes.append([])
        free = capacity

    for each in objects:
        cost = get_cost(each.size)
        if cost > free and (cost <= capacity or free < get_cost(BLOCK)):
            start_volume()
        offset = 0
        while True:
            room = free - get_cost(0)
            size = min(each.size - offset, PART_BYTES, room // BLOCK * BLOCK)
            if size <= 0 < each.size - offset or len(volumes[-1]) >= MAX_PARTS:
                start_volume()
                continue
            volumes[-1].append(Slice(each, offset, size))
            free -= get_cost(size)
            offset += size
            if offset >= each.size:
                break
    return [volume for volume in volumes if volume]


def get_cost(size: int) -> int:
    """Bytes of a volume that a part of this size takes."""
    return BLOCK + size + pad_size(size) + PART_ROW_BYTES


# -- writing --------------------------------------------------------------------------------------------------------
def write_volume(
    folder: Path,
    bundle: str,
    number: int,
    slices: Sequence[Slice],
    open_object: OpenObject,
    count: Count | None = None,
) -> VolumeRef:
    """Write a volume, which appears whole and durable under its name or not at all; one that is there is kept.

    `count` gets the bytes of objects as they are written, or those of the whole volume where it is there.

    Raises TransferError ``object_damaged`` for bytes that are not their digest's, OSError for a full disk.
    """
    path = folder / format_volume_name(number)
    parts = [build_part(each, open_object) for each in slices]
    manifest = encode_volume_manifest(bundle, number, parts)
    size = sum(BLOCK + n + pad_size(n) for n in (len(manifest), *(part.size for part in parts))) + len(END)
    reference = VolumeRef(number, size, hashlib.sha256(manifest).hexdigest())
    if path.is_file() and path.stat().st_size == size:
        if count is not None:
            count(sum(part.size for part in parts))
        return reference  # renamed into place only once it was complete
    staged = folder / f".{path.name}.part"
    try:
        with open(staged, "wb") as file:
            write_member(file, MANIFEST_NAME, len(manifest), [manifest])
            for part in parts:
                chunks = open_object(part.digest, part.offset, part.offset + part.size)
                if count is not None:
                    chunks = watch(chunks, count)
                if write_member(file, part.name, part.size, chunks) != part.sha256:
                    raise build_damage_error(part.digest)
            file.write(END)
            file.flush()
            os.fsync(file.fileno())
        os.replace(staged, path)
    finally:
        with suppress(FileNotFoundError):
            staged.unlink()
    sync_folder(folder)
    return reference


def build_part(each: Slice, open_object: OpenObject) -> Part:
    """The part with its digest: that of the object where it is whole, else the bytes are read for it."""
    if each.offset == 0 and each.is_last:
        return Part(each.object.digest, 0, each.size, each.object.digest)
    sha256 = hashlib.sha256()
    for chunk in open_object(each.object.digest, each.offset, each.offset + each.size):
        sha256.update(chunk)
    return Part(each.object.digest, each.offset, each.size, sha256.hexdigest(), each.is_last)


def watch(chunks: Iterable[bytes], count: Count) -> Iterator[bytes]:
    for chunk in chunks:
        yield chunk
        count(len(chunk))


def write_member(file: BinaryIO, name: str, size: int, chunks: Iterable[bytes]) -> str:
    """Write one member and return the digest of what was written. Raises TransferError where it is not `size` long."""
    file.write(encode_header(name, size))
    sha256, left = hashlib.sha256(), size
    for chunk in chunks:
        left -= len(chunk)
        if left < 0:
            break
        sha256.update(chunk)
        file.write(chunk)
    if left:
        raise build_damage_error(name.rpartition("/")[2][:64])
    file.write(bytes(pad_size(size)))
    return sha256.hexdigest()


def sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


# -- reading --------------------------------------------------------------------------------------------------------
Take = Callable[[Part, Iterator[memoryview]], None]
"""What is done with the bytes of a part while they are verified; it must not trust them before it returns."""


def verify_volume(
    path: Path, reference: VolumeRef, bundle: str, take: Take | None = None, count: Count | None = None
) -> list[Part]:
    """Verify every byte of a volume, in one pass, and return its parts. `take` gets the bytes of each on the way,
    `count` how many they are.

    Raises TransferError ``volume_missing``, ``volume_damaged`` (another byte, another length, something before or
    behind what was signed) or ``bundle_malformed``.
    """
    try:
        with open(path, "rb", buffering=0) as file:
            reader = VolumeReader(file, reference, count)
            parts = parse_volume_manifest(reader.read_manifest(), bundle, reference.number)
            for part in parts:
                reader.check_header(part.name, part.size)
                chunks = reader.iter_body(part)
                if take is not None:
                    take(part, chunks)
                for _ in chunks:
                    pass
            reader.check_end()
            return parts
    except FileNotFoundError:
        raise TransferError(
            "volume_missing",
            "The volume {name} is missing.",
            name=reference.name,
            field=reference.name,
            limit=f"{reference.size} bytes",
            hint="Copy it into the folder; the other volumes need not be copied again.",
        ) from None


class VolumeReader:
    """A volume that is read from its beginning to its end; whatever is not as it must be is `volume_damaged`."""

    def __init__(self, file: io.FileIO, reference: VolumeRef, count: Count | None = None) -> None:
        self.file, self.reference, self.count = file, reference, count
        self.buffer = memoryview(bytearray(CHUNK_BYTES))
        size = os.fstat(file.fileno()).st_size
        if size != reference.size:
            raise self.build_error(f"{size} bytes", f"{reference.size} bytes")

    def read_manifest(self) -> bytes:
        header = self.read_bytes(BLOCK)
        try:
            size = int(header[124:135], 8)
        except ValueError:
            raise self.build_error("its first header", "the header of volume.json") from None
        if not 0 < size <= MAX_VOLUME_MANIFEST_BYTES or header != encode_header(MANIFEST_NAME, size):
            raise self.build_error("its first header", "the header of volume.json")
        text = self.read_bytes(size)
        if hashlib.sha256(text).hexdigest() != self.reference.manifest:
            raise self.build_error("another list of objects", f"sha256 {self.reference.manifest}")
        self.check_zeros(pad_size(size))
        return text

    def check_header(self, name: str, size: int) -> None:
        if self.read_bytes(BLOCK) != encode_header(name, size):
            raise self.build_error(f"the header of {name}", "the one that a volume has")

    def iter_body(self, part: Part) -> Iterator[memoryview]:
        """The bytes of a part; the check of them comes with the end of the iteration."""
        sha256, left = hashlib.sha256(), part.size
        while left:
            size = self.file.readinto(self.buffer[: min(left, CHUNK_BYTES)])
            if not size:
                raise self.build_error("its end came early", f"{self.reference.size} bytes")
            chunk = self.buffer[:size]
            sha256.update(chunk)
            yield chunk
            left -= size
            if self.count is not None:
                self.count(size)
        if sha256.hexdigest() != part.sha256:
            raise self.build_error(f"other bytes of {part.name}", f"sha256 {part.sha256}")
        self.check_zeros(pad_size(part.size))

    def check_end(self) -> None:
        if self.read_bytes(len(END)) != END or self.file.read(1):
            raise self.build_error("something behind its last object", "nothing")

    def check_zeros(self, count: int) -> None:
        if count and self.read_bytes(count) != bytes(count):
            raise self.build_error("its padding", "zeros")

    def read_bytes(self, count: int) -> bytes:
        data = bytearray()
        while len(data) < count:
            piece = self.file.read(count - len(data))
            if not piece:
                raise self.build_error("its end came early", f"{self.reference.size} bytes")
            data += piece
        return bytes(data)

    def build_error(self, found: str, limit: str) -> TransferError:
        return TransferError(
            "volume_damaged",
            "The volume {name} is not the one that was signed: {found}.",
            name=self.reference.name,
            found=found,
            field=self.reference.name,
            value=found,
            limit=limit,
            hint="Copy this volume again; the others may stay.",
        )


def build_damage_error(digest: str) -> TransferError:
    return TransferError(
        "object_damaged",
        "The bytes of {digest} are not those of its digest.",
        digest=digest,
        field="digest",
        value=digest,
        limit="the bytes that it names",
        hint="Let the plane verify its store, put the right bytes back, and build again.",
    )
