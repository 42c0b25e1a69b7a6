"""The store: bytes by their SHA-256, written once. A folder by default, an S3-compatible store by ARTIFACT_URL.

Nothing that a user typed becomes a path: names are digests, checked, or random. A reader sees an object whole or
not at all; what is being written lies apart, in staging.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from datetime import timedelta
from types import TracebackType
from typing import IO, NamedTuple, Self

from apps.core.errors import Malformed
from apps.platform.artifacts.digests import CHUNK_BYTES, ContentHash, build_mismatch_error
from deepseek.messages import N_

CHUNK = CHUNK_BYTES
STALE = timedelta(hours=24)  # a staging file that nobody wrote to for so long has lost its writer
AREA = re.compile(r"[a-z0-9][a-z0-9-]{0,79}")


class StoredBytes(NamedTuple):
    """Bytes in the store and what is known of them: `chunks` as of ContentHash, empty where nobody computed them;
    `replaced` where they took the place of an object of another size, or of one that was marked damaged.
    """

    digest: str
    size: int
    chunks: bytes = b""
    replaced: bool = False


class Staging(ABC):
    """Bytes on their way in: write, then publish or discard. As a context it discards what was not published."""

    def __init__(self, *, with_chunks: bool = True) -> None:
        self._hash = ContentHash(with_chunks=with_chunks)
        self.size = 0
        self.ended = False
        self.replaced = False
        self.overwrites = False  # an object that is there goes, in one step: for whoever encrypts it again
        self._is_damaged: Callable[[str], bool] = lambda digest: False

    @property
    def digest(self) -> str:
        """SHA-256 of what was written so far, in hex."""
        return self._hash.hexdigest()

    def write(self, chunk: bytes) -> None:
        """Append bytes; StorageFull (and nothing stays behind) when the disk is full."""
        self._hash.update_whole(chunk)
        self.size += len(chunk)
        self._append(chunk)

    @property
    def stored(self) -> StoredBytes:
        """What was published."""
        return StoredBytes(self.digest, self.size, self._hash.chunks(), self.replaced)

    def publish(
        self,
        expected_digest: str | None = None,
        expected_size: int | None = None,
        is_damaged: Callable[[str], bool] | None = None,
    ) -> tuple[str, int]:
        """Make the bytes an object and return (digest, size); an object of this digest and size stays as it is, unless
        `is_damaged` says that its bytes are not to be trusted: then these replace it.

        Raises Invalid (`digest_mismatch`) or Malformed (`body_cut_off`), and discards, when they are not what was
        announced.
        """
        try:
            if expected_size is not None and self.size != expected_size:
                raise cut_off(self.size, expected_size)
            if expected_digest is not None and self.digest != expected_digest:
                raise build_mismatch_error(expected_digest, self.digest)
            self._is_damaged = is_damaged or self._is_damaged
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
    def _append(self, chunk: bytes | memoryview) -> None:
        """Store the bytes and hash their chunks, in this thread or another."""

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
        length = CHUNK if self.left is None else min(CHUNK, self.left)
        chunk = self.file.read(length) if length else b""
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

    Objects of the store itself go only through `collect`, which artifacts/garbage.py alone calls, with the row
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

    def count_set_aside(self) -> int:
        """Damaged files that `set_aside` keeps beside the objects."""
        return 0

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
    def open_staging(self, expected_digest: str | None = None, *, with_chunks: bool = True) -> Staging:
        """Begin to write. A digest known beforehand saves an S3 store a copy; it still has to be checked.

        `with_chunks=False`: each byte is hashed once, and the digests of the chunks are left to the scrub.
        """

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
        return self.hash(digest).hexdigest() == digest

    def hash(self, digest: str, *, with_chunks: bool = False) -> ContentHash:
        """The digests of what the object called `digest` holds now. FileNotFoundError if there is none."""
        content_hash = ContentHash(with_chunks=with_chunks)
        for chunk in self.open(digest):
            content_hash.update(chunk)
        return content_hash


def validate_area_names(names: tuple[str, ...]) -> tuple[str, ...]:
    """The names of an area, safe in a path."""
    for name in names:
        if not AREA.fullmatch(name):
            raise ValueError(f"{name!r} is no name of an area")
    return names


def cut_off(size: int, expected: int) -> Malformed:
    return Malformed(
        "The body ended after {size} of {expected} bytes; nothing was stored.",
        size=size,
        expected=expected,
        code="body_cut_off",
        field="Content-Length",
        limit=expected,
        hint=N_("Send it again."),
    )
