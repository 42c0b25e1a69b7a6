"""Bytes that leave the store: every chunk is verified before it is handed on, so that no wrong byte leaves.

The digests of the chunks were kept when the artifact was published, and a range needs only those of the chunks that it
touches. Of an artifact without them (published before they were kept) the bytes are read whole before the first one is
handed on, up to WHOLE_BYTES; of a larger one the last chunk is held back until the digest of the whole is right, and a
range of it has to wait for the scrub, which then begins with it. One chunk is held in memory.

Whoever finds other bytes marks the artifact, with the right of the plane itself: an asker may only read.
"""

from __future__ import annotations

import errno
import hashlib
import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, suppress
from functools import partial
from typing import NoReturn, Self

from celery import current_app
from django.db import Error as DatabaseError
from django.db import connection

from apps.core.actors import PlaneRole, build_plane_actor
from apps.core.errors import Unavailable
from apps.platform.artifacts.digests import CHUNK_BYTES, HASH_BYTES, ContentHash
from apps.platform.artifacts.models import Artifact, ChunkDigests
from apps.platform.artifacts.queries import DamagedBytes
from apps.platform.artifacts.services.damage import (
    CHUNKS_PER_PART,
    keep_chunk_digests,
    read_object,
    report_damage,
    request_chunk_digests,
)
from apps.platform.artifacts.store import Reading, Store, StoredBytes
from apps.platform.artifacts.stores import get_store
from deepseek.messages import N_

log = logging.getLogger(__name__)

WHOLE_BYTES = 256 << 20  # an artifact without chunk digests is read whole first up to here: 0.2 s from memory
RECENT_CHUNKS = 16  # of an artifact that is read in ranges, in memory
SCRUB_TASK = "workers.housekeeping.scrub_artifact"

FindDigest = Callable[[int], bytes]
"""The SHA-256 of the chunk of this number"""


def open_verified(
    of: Artifact | str, start: int = 0, end: int | None = None, *, is_size_checked: bool = False
) -> VerifiedReading:
    """The bytes of an artifact (or of the one of this digest) from `start` up to, not including, `end`.

    The first chunk is verified before this returns. `is_size_checked`: the caller has done `require_size`.

    Raises DamagedBytes, here or where a later chunk is reached; Unavailable (`artifact_unverified`) for a range that
    has to wait for the scrub.
    """
    artifact = find_artifact(of) if isinstance(of, str) else of
    at = get_store()
    if not is_size_checked:
        require_size(at, artifact)
    end = artifact.size if end is None else min(end, artifact.size)
    find_digest = find_digests(at, artifact, whole=start == 0 and end == artifact.size)
    return VerifiedReading(at, artifact, start, end, find_digest)


def find_artifact(digest: str) -> Artifact:
    """The artifact; of bytes that are stored and not registered yet, one that has no row."""
    artifact = Artifact.objects.filter(pk=digest).first()
    if artifact is None:
        try:
            return Artifact(digest=digest, size=get_store().size(digest))
        except FileNotFoundError:
            raise DamagedBytes(digest) from None
    return artifact


def require_size(at: Store, artifact: Artifact) -> None:
    """Raise DamagedBytes where the artifact is marked, there is no object, or one of another size. One stat."""
    if artifact.damaged_at is not None:
        raise DamagedBytes(artifact.digest)
    try:
        size = at.size(artifact.digest)
    except FileNotFoundError:
        raise record_damage(artifact, "It is missing from the store.") from None
    if size != artifact.size:
        raise record_damage(artifact, f"It has {size} bytes in the store, not {artifact.size}.")


def find_digests(at: Store, artifact: Artifact, *, whole: bool) -> FindDigest | None:
    """How to find the digest of a chunk; None where there is none, and the digest of the whole has to do."""
    if artifact.size <= CHUNK_BYTES:
        return lambda number: bytes.fromhex(artifact.digest)
    if artifact.chunked_at is not None:
        return partial(_stored_digest, artifact.digest, {})
    if artifact.size <= WHOLE_BYTES:
        chunks = read_whole(at, artifact)
        return lambda number: chunks[number * HASH_BYTES : (number + 1) * HASH_BYTES]
    if not whole:
        raise_until_scrubbed(artifact)
    return None


def _stored_digest(digest: str, loaded: dict[int, bytes], number: int) -> bytes:
    """Of the last part of ChunkDigests that was loaded, or of another, which then takes its place."""
    part, place = divmod(number, CHUNKS_PER_PART)
    if part not in loaded:
        digests = ChunkDigests.objects.filter(artifact=digest, part=part).values_list("digests", flat=True).first()
        if loaded:  # in the middle of a transfer; before it, the connection is the caller's
            release_connection()
        loaded.clear()
        loaded[part] = bytes(digests or b"")
    return loaded[part][place * HASH_BYTES : (place + 1) * HASH_BYTES]


def read_whole(at: Store, artifact: Artifact) -> bytes:
    """The digests of the chunks of an artifact that has none yet, kept for the next time; Damaged where it is."""
    content_hash = read_object(at, artifact.digest, with_chunks=True)
    if content_hash is None:
        raise record_damage(artifact, "It has other bytes in the store.")
    keep(artifact, content_hash)
    return content_hash.chunks()


def keep(artifact: Artifact, found: ContentHash) -> None:
    """Store the digests of chunks; a database that cannot be written to at this moment makes no read fail."""
    if artifact._state.adding:  # who registers it keeps them
        return
    try:
        stored = StoredBytes(artifact.digest, found.size, found.chunks())
        keep_chunk_digests(actor=build_plane_actor(PlaneRole.WORKER), stored=stored)
    except DatabaseError:
        log.warning("the chunk digests of %s were not kept", artifact.digest, exc_info=True)


def raise_until_scrubbed(artifact: Artifact) -> NoReturn:
    """Raise Unavailable, and have the scrub begin with this artifact."""
    with suppress(DatabaseError):
        request_scrub(artifact)
    raise Unavailable(
        "Ranges of this artifact are sent once the plane has read it whole; it begins now.",
        code="artifact_unverified",
        field="Range",
        limit=WHOLE_BYTES,
        hint=N_("Try again in some minutes, or request the whole artifact."),
    )


def request_scrub(artifact: Artifact) -> None:
    """Have a worker read the artifact now, and keep the digests of its chunks; nothing where that was requested."""
    if request_chunk_digests(actor=build_plane_actor(PlaneRole.WORKER), artifact=artifact):
        with suppress(Exception):  # a broker that is away: the next scrub begins with it anyway
            current_app.send_task(SCRUB_TASK, args=[artifact.digest], ignore_result=True, retry=False)


def record_damage(artifact: Artifact, reason: str, *, is_certain: bool = True) -> DamagedBytes:
    """Mark an artifact whose bytes, read just now, are others; the error to raise. `is_certain` as `report_damage`."""
    try:
        report_damage(
            actor=build_plane_actor(PlaneRole.WORKER),
            digest=artifact.digest,
            reason=f"Found as it was read: {reason}",
            is_certain=is_certain,
            seen=artifact,
        )
    except (DatabaseError, OSError):
        log.exception("the damage of artifact %s could not be recorded: %s", artifact.digest, reason)
    finally:
        release_connection()
    return DamagedBytes(artifact.digest)


class VerifiedReading:
    """The bytes of an artifact from `start` up to `end`, chunk by chunk, each verified."""

    def __init__(self, at: Store, artifact: Artifact, start: int, end: int, find_digest: FindDigest | None) -> None:
        self.at, self.artifact, self.end, self.find_digest = at, artifact, end, find_digest
        self.position = start
        self.whole = ContentHash() if find_digest is None else None
        self.reading = self._open(start - start % CHUNK_BYTES)
        self.first: bytes | None = None
        try:
            self.first = self._next()
        except BaseException:
            self.close()
            raise

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        if self.first is not None:
            piece, self.first = self.first, None
        else:
            piece = self._next()
        if not piece:
            self.close()
            raise StopIteration
        return piece

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self.reading.close()

    def _open(self, start: int) -> Reading:
        try:
            return self.at.open(self.artifact.digest, start)
        except FileNotFoundError:
            raise record_damage(self.artifact, "It is missing from the store.") from None

    def _next(self) -> bytes:
        if self.position >= self.end:
            return b""
        number, skip = divmod(self.position, CHUNK_BYTES)
        begin = self.position - skip
        size = min(CHUNK_BYTES, self.artifact.size - begin)
        if self.whole is not None:
            chunk = self._read_towards_whole(size, self.whole)
        else:
            chunk = self._read_verified(number, size)
        stop = min(size, self.end - begin)
        self.position = begin + stop
        return chunk if (skip, stop) == (0, size) else chunk[skip:stop]

    def _read_verified(self, number: int, size: int) -> bytes:
        expected = self.find_digest(number) if self.find_digest else b""
        chunk = read_exactly(self.reading, size)
        if hashlib.sha256(chunk).digest() == expected:
            return chunk
        # Once more, and from the object that is there now: a repair may have replaced it, or the transfer was wrong.
        self.close()
        self.reading = self._open(number * CHUNK_BYTES)
        chunk = read_exactly(self.reading, size)
        if hashlib.sha256(chunk).digest() == expected:
            log.warning("artifact %s: chunk %s was read wrong, once", self.artifact.digest, number)
            return chunk
        raise record_damage(self.artifact, f"Its bytes from {number * CHUNK_BYTES} on are others.")

    def _read_towards_whole(self, size: int, whole: ContentHash) -> bytes:
        """Without digests of chunks: the last one is held back until the digest of the whole is right."""
        chunk = read_exactly(self.reading, size)
        whole.update(chunk)
        if self.position + size < self.artifact.size and len(chunk) == size:
            return chunk
        if whole.hexdigest() != self.artifact.digest:
            # A repair may have replaced the object since this reading began, hours ago perhaps: it is read once more.
            raise record_damage(self.artifact, "The digest of its bytes is another.", is_certain=False)
        keep(self.artifact, whole)
        release_connection()
        return chunk


def read_exactly(reading: Reading, size: int) -> bytes:
    """Up to `size` bytes; fewer at the end, or where the disk cannot read them."""
    parts: list[bytes] = []
    left = size
    try:
        while left and (part := reading.file.read(left)):
            parts.append(part)
            left -= len(part)
    except OSError as error:
        if error.errno != errno.EIO:  # a bad sector is damage, anything else is a fault of the moment
            raise
    return parts[0] if len(parts) == 1 else b"".join(parts)


def release_connection() -> None:
    """Give the database connection back before bytes flow: hours of transfer must not empty the pool."""
    if not connection.in_atomic_block:
        connection.close()


def read_verified(of: Artifact | str, start: int = 0, end: int | None = None) -> bytes:
    """The bytes of a small artifact, or of a small range of one. Raises as `open_verified`."""
    with closing(open_verified(of, start, end)) as reading:
        return b"".join(reading)


def open_ranges(artifacts: Sequence[Artifact]) -> list[VerifiedRanges]:
    """Ranges of each of these artifacts; the digests of their chunks come with one query."""
    chunked = [artifact.digest for artifact in artifacts if artifact.size > CHUNK_BYTES]
    rows = ChunkDigests.objects.filter(artifact__in=chunked, part=0).values_list("artifact_id", "digests")
    digests = {digest: bytes(chunks) for digest, chunks in rows} if chunked else {}
    return [VerifiedRanges(artifact, digests.get(artifact.digest)) for artifact in artifacts]


class VerifiedRanges:
    """Ranges of one artifact, in any order, each verified; the digests of its chunks are looked up once.

    The last chunks are in memory: ranges that lie side by side, as the columns of a table, verify each chunk once.
    """

    def __init__(self, artifact: Artifact, first_digests: bytes | None = None) -> None:
        """`first_digests`: those of its first chunks, where the caller has them of many artifacts at once."""
        self.at, self.artifact = get_store(), artifact
        require_size(self.at, artifact)
        if first_digests and artifact.size > CHUNK_BYTES and artifact.chunked_at is not None:
            self.find_digest: FindDigest | None = partial(_stored_digest, artifact.digest, {0: first_digests})
        else:
            self.find_digest = find_digests(self.at, artifact, whole=False)
        self.chunks: dict[int, bytes] = {}

    def read(self, start: int, end: int) -> bytes:
        """The bytes from `start` up to `end`. Raises as `open_verified`."""
        end = min(end, self.artifact.size)
        if start >= end:
            return b""
        first, last = start // CHUNK_BYTES, (end - 1) // CHUNK_BYTES
        missing = [number for number in range(first, last + 1) if number not in self.chunks]
        fresh = dict(self._read_chunks(missing[0], missing[-1])) if missing else {}
        parts = [fresh[number] if number in fresh else self.chunks[number] for number in range(first, last + 1)]
        self.chunks |= dict(list(fresh.items())[-RECENT_CHUNKS:])
        while len(self.chunks) > RECENT_CHUNKS:
            del self.chunks[next(iter(self.chunks))]
        data = parts[0] if len(parts) == 1 else b"".join(parts)
        begin = start - first * CHUNK_BYTES
        return data[begin : begin + end - start]

    def _read_chunks(self, first: int, last: int) -> Iterator[tuple[int, bytes]]:
        end = min((last + 1) * CHUNK_BYTES, self.artifact.size)
        with closing(VerifiedReading(self.at, self.artifact, first * CHUNK_BYTES, end, self.find_digest)) as reading:
            yield from enumerate(reading, start=first)
