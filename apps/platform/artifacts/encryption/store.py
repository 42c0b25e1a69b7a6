"""A store whose objects are encrypted on its disk; what it takes and gives are the plain bytes, under their SHA-256.

It lies around another store: encrypted objects are in `encrypted/` of that one, and plain ones from before are read
where they are. Equal bytes that come again are encrypted, and the plain copy goes.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import timedelta
from itertools import groupby
from typing import IO, cast

from apps.core.errors import Unavailable
from apps.platform.artifacts.digests import CHUNK_BYTES
from apps.platform.artifacts.encryption.data_keys import DataKeys
from apps.platform.artifacts.encryption.objects import (
    HEADER_BYTES,
    ID_BYTES,
    SEALED_CHUNK_BYTES,
    DecryptedFile,
    ObjectCipher,
    compute_plain_size,
    read_fully,
)
from apps.platform.artifacts.store import STALE, Reading, Staging, Store, StoredObject
from apps.platform.artifacts.write_behind import PIECES

SMALL = 8 << 20  # bytes that one thread hashes, encrypts and writes


class EncryptedStaging(Staging):
    """Encrypts what is written, chunk by chunk, in a thread of its own once it is more than SMALL."""

    def __init__(self, store: EncryptedStore, expected_digest: str | None, with_chunks: bool, overwrites: bool) -> None:
        super().__init__(with_chunks=with_chunks and not store.is_area)
        self.store = store
        self.inner = store.encrypted.open_staging(expected_digest, with_chunks=False)
        self.inner.overwrites = overwrites
        self.cipher = ObjectCipher.begin(store.keys.get_active())
        self.number = 0
        self.parts: list[memoryview] = []
        self.waiting = 0  # bytes of `parts`
        # Used in turn, which saves fresh memory for each: a writer behind has at most PIECES of them, and one in hand.
        self.sealed = [memoryview(bytearray(SEALED_CHUNK_BYTES)) for _ in range(PIECES + 2)]
        self.thread: ThreadPoolExecutor | None = None
        self.pieces: deque[Future[None]] = deque()
        self._put(self.cipher.header)

    def _append(self, chunk: bytes | memoryview) -> None:
        if self.thread is None and self.size > SMALL:
            self.thread = ThreadPoolExecutor(1, "encrypting")
        try:
            if self.thread is None:
                self._encrypt(chunk)
                return
            if len(self.pieces) == PIECES:
                self.pieces.popleft().result()
            self.pieces.append(self.thread.submit(self._encrypt, chunk))
        except BaseException:
            self.discard()
            raise

    def _encrypt(self, chunk: bytes | memoryview) -> None:
        self._hash.update_chunks(chunk)
        self.parts.append(memoryview(chunk))
        self.waiting += len(chunk)
        while self.waiting > CHUNK_BYTES:  # one stays back: the last is marked as such
            if len(self.parts[0]) < CHUNK_BYTES:
                self.parts = [memoryview(b"".join(self.parts))]
            head, rest = self.parts[0][:CHUNK_BYTES], self.parts[0][CHUNK_BYTES:]
            self.parts[:1] = [rest] if rest else []
            self.waiting -= CHUNK_BYTES
            sealed = self.sealed[self.number % len(self.sealed)]
            self.cipher.encrypt_into(self.number, False, head, sealed)
            self._put(sealed)
            self.number += 1

    def _put(self, data: bytes | memoryview) -> None:
        self.inner.size += len(data)
        self.inner._append(data)

    def _commit(self, digest: str) -> None:
        while self.pieces:
            self.pieces.popleft().result()
        self._put(self.cipher.encrypt(self.number, True, b"".join(self.parts)))
        self.inner._is_damaged = self._is_damaged
        self.inner._commit(digest)
        self.inner.ended = True
        self.replaced = self.inner.replaced
        self._stop()
        self.store.plain._remove(digest)  # of before the store was encrypted

    def _drop(self) -> None:
        self._stop()
        self.inner.discard()

    def _stop(self) -> None:
        if self.thread is not None:
            self.thread.shutdown(cancel_futures=True)
            self.thread = None
            self.pieces.clear()


class EncryptedStore(Store):
    """`plain` as it was, and `encrypted`, a store inside of it. With `keys.cipher` None it encrypts nothing new."""

    def __init__(self, plain: Store, encrypted: Store, keys: DataKeys) -> None:
        self.plain, self.encrypted, self.keys = plain, encrypted, keys

    def area(self, *names: str) -> Store:
        inside = EncryptedStore(self.plain.area(*names), self.encrypted.area(*names), self.keys)
        inside.is_area = True
        return inside

    def areas(self) -> list[str]:
        return sorted({*self.plain.areas(), *self.encrypted.areas()})

    def _remove(self, digest: str) -> None:
        self.encrypted._remove(digest)
        self.plain._remove(digest)

    def _clear(self) -> None:
        self.encrypted._clear()
        self.plain._clear()

    def objects(self) -> Iterator[StoredObject]:
        encrypted = (
            StoredObject(item.digest, compute_plain_size(item.size), item.touched) for item in self.encrypted.objects()
        )
        merged = heapq.merge(encrypted, self.plain.objects(), key=lambda item: item.digest)
        for _digest, items in groupby(merged, key=lambda item: item.digest):
            yield max(items, key=lambda item: item.touched)

    def touched(self, digest: str) -> float:
        times = []
        for store in (self.encrypted, self.plain):
            try:
                times.append(store.touched(digest))
            except FileNotFoundError:
                continue
        return max(times) if times else self.encrypted.touched(digest)

    def open_staging(self, expected_digest: str | None = None, *, with_chunks: bool = True) -> Staging:
        if self.keys.cipher is None:
            return self.plain.open_staging(expected_digest, with_chunks=with_chunks)
        return EncryptedStaging(self, expected_digest, with_chunks, overwrites=False)

    def open(self, digest: str, start: int = 0, end: int | None = None) -> Reading:
        for _attempt in range(2):  # between the two looks it may have been encrypted
            try:
                return Reading(self._open_encrypted(digest), start, end)
            except FileNotFoundError:
                pass
            try:
                return self.plain.open(digest, start, end)
            except FileNotFoundError:
                continue
        raise FileNotFoundError(digest)

    def _open_encrypted(self, digest: str) -> IO[bytes]:
        file = self.encrypted.open(digest).file
        try:
            return cast(IO[bytes], DecryptedFile(file, self.keys.find))
        except BaseException:
            file.close()
            raise

    def size(self, digest: str) -> int:
        try:
            return compute_plain_size(self.encrypted.size(digest))
        except FileNotFoundError:
            pass
        try:
            return self.plain.size(digest)
        except FileNotFoundError:
            return compute_plain_size(self.encrypted.size(digest))

    def check(self) -> None:
        try:
            self.encrypted.check()
        except Unavailable:
            self.plain.check()

    def set_aside(self, digest: str) -> None:
        (self.encrypted if self.encrypted.exists(digest) else self.plain).set_aside(digest)

    def sweep(self, older_than: timedelta = STALE) -> int:
        return self.encrypted.sweep(older_than) + self.plain.sweep(older_than)

    def read_key_id(self, digest: str) -> bytes | None:
        """The id of the data key that the object is encrypted under; None for a plain one."""
        try:
            reading = self.encrypted.open(digest)
        except FileNotFoundError:
            return None
        try:
            return read_fully(reading.file, HEADER_BYTES)[16 : 16 + ID_BYTES]
        finally:
            reading.close()

    def encrypt_again(self, digest: str) -> int:
        """Encrypt an object under the active data key, whether it is plain or under another; its bytes.

        Readers see the one or the other whole. Raises Invalid (`digest_mismatch`) and leaves a damaged object as it is,
        FileNotFoundError where it is gone.
        """
        reading = self.open(digest)
        try:
            with EncryptedStaging(self, digest, with_chunks=False, overwrites=True) as staging:
                for chunk in reading:
                    staging.write(chunk)
                return staging.publish(digest)[1]
        finally:
            reading.close()
