"""A repository of snapshots: every object once, encrypted, under a name that tells nothing of it.

    repository.json        format, identity, the data key wrapped for the plane and for the recovery key
    snapshots/ID           one snapshot: where its index lies and what it comes to, encrypted
    objects/ab/NAME        an object of the store, or a block of a file; NAME is a keyed hash of its SHA-256

Objects come first and the snapshot last: what was interrupted is no snapshot, and the next one finds its objects there.
A snapshot is removed first and what only it named afterwards.
"""

from __future__ import annotations

import hashlib
import json
import os
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from deepseek.messages import N_
from deepseek.snapshots.encryption import decrypt, encrypt
from deepseek.snapshots.errors import DAMAGED, SnapshotError, build_damage_error, build_source_error
from deepseek.snapshots.keys import (
    RepositoryKeys,
    generate_key,
    unwrap_for_plane,
    unwrap_for_recovery,
    wrap_for_plane,
    wrap_for_recovery,
)
from deepseek.snapshots.storage import NAME, Storage

FORMAT = 1
HEADER = "repository.json"
MAX_HEADER_BYTES = 1 << 20
COMPRESSION_SAMPLE = 16 << 10
Report = Callable[[int, int], None]
Split = Callable[[Iterable[bytes], bytes], Iterator[bytes]]


@dataclass(frozen=True, slots=True)
class Entry:
    """Bytes as blocks, in order; `digest` is the SHA-256 of the whole."""

    size: int
    digest: str
    blocks: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        return {"size": self.size, "digest": self.digest, "blocks": list(self.blocks)}

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> Entry:
        return cls(int(fields["size"]), str(fields["digest"]), tuple(map(str, fields["blocks"])))


@dataclass(frozen=True, slots=True)
class SnapshotRecord:
    """One snapshot as its root says; `about` is what its maker added for lists."""

    snapshot_id: str
    created_at: str
    index: Entry
    about: dict[str, Any]


@dataclass(frozen=True, slots=True)
class SnapshotIndex:
    """Everything of a snapshot: files by name, and the objects of the store as a file of `DIGEST SIZE` lines."""

    files: dict[str, Entry]
    objects: Entry


class SourceMismatch(Exception):
    """The bytes to be added are not those of their digest, or are gone."""


class Repository:
    """An open repository. `split` cuts files into blocks; who only reads needs none."""

    def __init__(
        self, storage: Storage, header: Mapping[str, Any], data_key: bytes, split: Split | None = None
    ) -> None:
        self.storage, self.split = storage, split
        self.repository_id = str(header["repository_id"])
        self.keys = RepositoryKeys.derive_from(data_key)
        self.names: set[str] | None = None
        self.added_objects = self.added_bytes = 0

    # -- open and create --------------------------------------------------------------------------------------------
    @classmethod
    def create(
        cls, storage: Storage, *, plane_key: bytes, recovery_public: bytes, split: Split | None = None
    ) -> Repository:
        """Make an empty repository. Raises SnapshotError `snapshot_repository_exists` where there is one."""
        data_key, repository_id = generate_key(), os.urandom(16).hex()
        header = {
            "format": FORMAT,
            "repository_id": repository_id,
            "created_at": datetime.now(UTC).isoformat(timespec="seconds"),
            "plane": wrap_for_plane(data_key, plane_key, repository_id),
            "recovery": wrap_for_recovery(data_key, recovery_public, repository_id),
        }
        with storage.lock():  # of two at once one would replace the other's header, and void its recovery key
            if read_header(storage) is not None:
                raise SnapshotError(
                    "snapshot_repository_exists",
                    "There is a repository of snapshots already.",
                    field="repository",
                    hint=N_("Use it, or name another folder or prefix."),
                )
            storage.write(HEADER, [json.dumps(header, indent=1).encode() + b"\n"])
            storage.flush()
        return cls(storage, header, data_key, split)

    @classmethod
    def open(
        cls,
        storage: Storage,
        *,
        plane_key: bytes | None = None,
        recovery_key: bytes | None = None,
        split: Split | None = None,
    ) -> Repository:
        """Open with either key. Raises SnapshotError `snapshot_repository_missing` or `snapshot_key_wrong`."""
        header = read_header(storage)
        if header is None:
            raise SnapshotError(
                "snapshot_repository_missing",
                "There is no repository of snapshots yet.",
                field="repository",
                hint=N_("Prepare it once with `plane snapshot prepare`, and keep the recovery key that it prints."),
            )
        repository_id = str(header["repository_id"])
        if recovery_key is not None:
            data_key = unwrap_for_recovery(header.get("recovery") or {}, recovery_key, repository_id)
        else:
            data_key = unwrap_for_plane(header.get("plane") or {}, plane_key or b"\0", repository_id)
        return cls(storage, header, data_key, split)

    def admit_plane(self, plane_key: bytes) -> None:
        """Wrap the data key for the key of this plane, in place of the one before."""
        self.replace_wrap("plane", wrap_for_plane(self.keys.data_key, plane_key, self.repository_id))

    def replace_recovery_key(self, public: bytes) -> None:
        """Wrap the data key for another recovery key, given by its public half; the former opens this header no more.

        The data key stays: a copy of the header from before, with the former key, still opens the repository.
        """
        self.replace_wrap("recovery", wrap_for_recovery(self.keys.data_key, public, self.repository_id))

    def replace_wrap(self, part: str, wrap: dict[str, str]) -> None:
        with self.storage.lock():  # of two at once one would undo what the other wrote
            header = read_header(self.storage) or {}
            header[part] = wrap
            self.storage.write(HEADER, [json.dumps(header, indent=1).encode() + b"\n"])
            self.storage.flush()

    # -- add --------------------------------------------------------------------------------------------------------
    def load_names(self) -> set[str]:
        """Names of all objects that lie here, listed once."""
        if self.names is None:
            self.names = {name.rpartition("/")[2] for name, _size in self.storage.list_names("objects")}
        return self.names

    def add_object(self, digest: str, chunks: Callable[[], Iterable[bytes]]) -> bool:
        """Store an object of the artifact store unless it lies here; False where its bytes are others than its digest
        says."""
        names, name = self.load_names(), self.keys.build_name(digest)
        if name in names:
            return True
        try:
            self.write_object(name, verify_chunks(chunks, digest))
        except SourceMismatch:
            return False
        names.add(name)
        return True

    def add_file(self, chunks: Iterable[bytes]) -> Entry:
        """Store bytes as blocks, of which those that lie here cost nothing."""
        if self.split is None:
            raise ValueError("opened for reading")
        names, whole, size, blocks = self.load_names(), hashlib.sha256(), 0, []
        for block in self.split(read_source(chunks), self.keys.split_seed):
            whole.update(block)
            size += len(block)
            digest = hashlib.sha256(block).hexdigest()
            blocks.append(digest)
            name = self.keys.build_name(digest)
            if name not in names:
                self.write_object(name, [block], is_compressed=is_compressible(block))
                names.add(name)
        return Entry(size, whole.hexdigest(), tuple(blocks))

    def write_object(self, name: str, chunks: Iterable[bytes], *, is_compressed: bool = False) -> None:
        stream = encrypt(self.keys, name, chunks, is_compressed=is_compressed)
        self.added_bytes += self.storage.write(build_path(name), stream)
        self.added_objects += 1

    def add_index(self, index: SnapshotIndex) -> Entry:
        """Store the index of a snapshot; with it everything is durable that the snapshot needs."""
        document = {
            "files": {name: entry.to_dict() for name, entry in index.files.items()},
            "objects": index.objects.to_dict(),
        }
        entry = self.add_file([json.dumps(document).encode()])
        self.storage.flush()
        return entry

    def commit(self, snapshot_id: str, entry: Entry, about: Mapping[str, Any]) -> SnapshotRecord:
        """Write the snapshot whose index is `entry`, and read it back: from now on it is one."""
        created_at = datetime.now(UTC).isoformat(timespec="seconds")
        root = {"format": FORMAT, "created_at": created_at, "index": entry.to_dict(), "about": dict(about)}
        path = f"snapshots/{snapshot_id}"
        self.storage.write(path, encrypt(self.keys, path, [json.dumps(root).encode()]))
        self.storage.flush()
        return self.read_snapshot(snapshot_id)

    # -- read -------------------------------------------------------------------------------------------------------
    def read_object(self, digest: str) -> Iterator[bytes]:
        """The plain bytes; complete, and those of the digest, when the iterator ends. Raises SnapshotError."""
        name = self.keys.build_name(digest)
        found = hashlib.sha256()
        try:
            for chunk in decrypt(self.keys, name, self.storage.read(build_path(name))):
                found.update(chunk)
                yield chunk
        except FileNotFoundError:
            raise build_damage_error(name) from None
        if found.hexdigest() != digest:
            raise build_damage_error(name)

    def read_file(self, entry: Entry) -> Iterator[bytes]:
        whole = hashlib.sha256()
        for digest in entry.blocks:
            for chunk in self.read_object(digest):
                whole.update(chunk)
                yield chunk
        if whole.hexdigest() != entry.digest:
            raise build_damage_error(self.keys.build_name(entry.digest))

    def list_snapshot_ids(self) -> list[str]:
        return sorted(name.rpartition("/")[2] for name, _size in self.storage.list_names("snapshots"))

    def read_snapshot(self, snapshot_id: str) -> SnapshotRecord:
        """The root of a snapshot. Raises SnapshotError `snapshot_unknown` or `snapshot_damaged`."""
        path = f"snapshots/{snapshot_id}"
        try:
            root = json.loads(b"".join(decrypt(self.keys, path, self.storage.read(path))))
            return SnapshotRecord(snapshot_id, root["created_at"], Entry.from_dict(root["index"]), dict(root["about"]))
        except (FileNotFoundError, ValueError, KeyError, TypeError) as failure:
            is_gone = isinstance(failure, FileNotFoundError)
            raise build_unknown_error(snapshot_id) if is_gone else build_damage_error(path) from None

    def read_index(self, snapshot: SnapshotRecord) -> SnapshotIndex:
        document = json.loads(b"".join(self.read_file(snapshot.index)))
        files = {str(name): Entry.from_dict(fields) for name, fields in document["files"].items()}
        return SnapshotIndex(files, Entry.from_dict(document["objects"]))

    def iter_objects(self, index: SnapshotIndex) -> Iterator[tuple[str, int]]:
        """(digest, size) of every object of the store that the snapshot holds."""
        rest = b""
        for chunk in self.read_file(index.objects):
            *lines, rest = (rest + chunk).split(b"\n")
            for line in lines:
                digest, _, size = line.decode().partition(" ")
                yield digest, int(size)

    def iter_digests(self, snapshot: SnapshotRecord) -> Iterator[str]:
        """The digest of everything that the snapshot needs, some of them more than once."""
        return self.iter_needed(snapshot.index, self.read_index(snapshot))

    def iter_needed(self, entry: Entry, index: SnapshotIndex) -> Iterator[str]:
        """The digest of everything that an index names, and of the index itself, which lies in `entry`."""
        yield from entry.blocks
        for entry in (*index.files.values(), index.objects):
            yield from entry.blocks
        for digest, _size in self.iter_objects(index):
            yield digest

    # -- verify and remove ------------------------------------------------------------------------------------------
    def verify_objects(self, digests: Iterable[str], report: Callable[[int], None] = lambda _size: None) -> list[str]:
        """Read the objects back whole; the digests of those that are damaged or gone. A place that does not answer is
        no damage: SnapshotError."""
        damaged = []
        for digest in digests:
            try:
                for chunk in self.read_object(digest):
                    report(len(chunk))
            except SnapshotError as failure:
                if failure.code != DAMAGED:
                    raise
                damaged.append(digest)
        return damaged

    def discard_object(self, digest: str) -> None:
        """Take away an object that is damaged, so that the next snapshot stores it anew."""
        name = self.keys.build_name(digest)
        self.storage.delete(build_path(name))
        if self.names is not None:
            self.names.discard(name)

    def remove_snapshot(self, snapshot_id: str) -> None:
        self.storage.delete(f"snapshots/{snapshot_id}")

    def collect(self, report: Report = lambda _done, _total: None) -> tuple[int, int]:
        """Remove the objects that no snapshot names; (objects, bytes). Raises SnapshotError, and removes nothing, where
        a snapshot cannot be read: what it names is unknown."""
        self.storage.sweep()
        used: set[str] = set()
        for snapshot_id in self.list_snapshot_ids():
            used.update(
                self.keys.build_name(digest) for digest in set(self.iter_digests(self.read_snapshot(snapshot_id)))
            )
        unused = [
            (name, size)
            for name, size in self.storage.list_names("objects")
            if NAME.fullmatch(name) and name.rpartition("/")[2] not in used
        ]
        for number, (name, _size) in enumerate(unused, 1):
            self.storage.delete(name)
            report(number, len(unused))
        self.names = None
        return len(unused), sum(size for _name, size in unused)


def is_compressible(block: bytes) -> bool:
    """Whether the beginning of a block shrinks by a tenth: what does not is not worth the time."""
    sample = block[:COMPRESSION_SAMPLE]
    return len(zlib.compress(sample, 1)) < 0.9 * len(sample)


def build_path(name: str) -> str:
    return f"objects/{name[:2]}/{name}"


def verify_chunks(chunks: Callable[[], Iterable[bytes]], digest: str) -> Iterator[bytes]:
    """The bytes of a source; SourceMismatch at the end where they are others than the digest says."""
    found = hashlib.sha256()
    try:
        for chunk in chunks():
            found.update(chunk)
            yield chunk
    except FileNotFoundError:
        raise SourceMismatch(digest) from None
    except OSError as failure:
        raise build_source_error(failure, digest) from failure
    if found.hexdigest() != digest:
        raise SourceMismatch(digest)


def read_source(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """The bytes of a file that becomes part of the snapshot. Raises SnapshotError where it cannot be read."""
    try:
        yield from chunks
    except OSError as failure:
        raise build_source_error(failure) from failure


def read_header(storage: Storage) -> dict[str, Any] | None:
    """repository.json, or None where there is no repository. Raises SnapshotError for one of another format."""
    raw = b""
    with suppress(FileNotFoundError):
        for chunk in storage.read(HEADER):
            raw += chunk
            if len(raw) > MAX_HEADER_BYTES:
                break
    if not raw:
        return None
    try:
        header = json.loads(raw)
        is_sound = header["format"] == FORMAT and len(header["repository_id"]) == 32
    except (ValueError, KeyError, TypeError):
        is_sound = False
    if not is_sound:
        raise SnapshotError(
            "snapshot_repository_malformed",
            "repository.json is not of a repository that this version reads.",
            field="repository",
            limit=f"format {FORMAT}",
            hint=N_("Use the version that made it, or put the file back from a copy."),
        )
    return dict(header)


def build_unknown_error(snapshot_id: str) -> SnapshotError:
    return SnapshotError(
        "snapshot_unknown",
        "The repository has no snapshot {snapshot_id}.",
        snapshot_id=snapshot_id[:40],
        field="snapshot",
        hint=N_("`plane snapshot list` shows those that it has."),
    )
