"""The form of an encrypted object: a header, then each MiB of it by itself, so that ranges can be read.

Header, 64 bytes: magic (8), number of the cipher (1), zeros (3), CRC-32 of what stands around it (4), id of the data
key (16), salt (32). The CRC tells a header that the disk has changed, which is damage, from a data key that is missing,
which is none.

The key of the object is derived from the data key and the salt, so no two objects share one, and the nonce is a
counter: the number of the chunk and whether it is the last (the STREAM construction of Hoang, Reyhanitabar, Rogaway and
Vizár 2015). The header is the associated data of each chunk. Chunks can therefore not be changed, exchanged, left out
or cut off without a trace.
"""

from __future__ import annotations

import logging
import secrets
import zlib
from collections.abc import Callable
from typing import IO, NamedTuple, Self

from apps.core.encryption.ciphers import CIPHERS_BY_NUMBER, TAG_BYTES, Cipher, DecryptionError
from apps.platform.artifacts.digests import CHUNK_BYTES

log = logging.getLogger(__name__)

MAGIC = b"DSOENC1\n"
ID_BYTES = 16
SALT_BYTES = 32
HEADER_BYTES = 64
SEALED_CHUNK_BYTES = CHUNK_BYTES + TAG_BYTES
PURPOSE = b"plane/store-object/v1"


class DataKey(NamedTuple):
    """A key of the store, out of which the keys of objects are derived."""

    id: bytes
    cipher: Cipher
    secret: bytes

    def __repr__(self) -> str:
        return f"DataKey({self.id.hex()})"


class ObjectCipher:
    """Encrypts and decrypts the chunks of one object."""

    def __init__(self, data_key: DataKey, header: bytes) -> None:
        self.header = header
        self.cipher = data_key.cipher
        self.key = self.cipher.derive_key(data_key.secret, header[-SALT_BYTES:], PURPOSE)

    @classmethod
    def begin(cls, data_key: DataKey) -> Self:
        """For a new object, with a salt of its own."""
        return cls(data_key, build_header(data_key, secrets.token_bytes(SALT_BYTES)))

    def encrypt(self, number: int, is_last: bool, plain: bytes | memoryview) -> bytes:
        return self.cipher.encrypt(self.key, build_nonce(number, is_last), plain, self.header)

    def encrypt_into(self, number: int, is_last: bool, plain: bytes | memoryview, sealed: memoryview) -> None:
        """`encrypt`, into a buffer of TAG_BYTES more."""
        self.cipher.encrypt_into(self.key, build_nonce(number, is_last), plain, self.header, sealed)

    def decrypt(self, number: int, is_last: bool, sealed: bytes | memoryview) -> bytes:
        return self.cipher.decrypt(self.key, build_nonce(number, is_last), sealed, self.header)


def build_header(data_key: DataKey, salt: bytes) -> bytes:
    front, back = MAGIC + bytes([data_key.cipher.number]) + bytes(3), data_key.id + salt
    return front + zlib.crc32(front + back).to_bytes(4, "big") + back


def is_header(header: bytes) -> bool:
    """Whether these bytes begin an encrypted object, unchanged since they were written."""
    front, checksum, back = header[:12], header[12:16], header[16:]
    return (
        len(header) == HEADER_BYTES
        and front[: len(MAGIC)] == MAGIC
        and front[8] in CIPHERS_BY_NUMBER
        and zlib.crc32(front + back).to_bytes(4, "big") == checksum
    )


def build_nonce(number: int, is_last: bool) -> bytes:
    return number.to_bytes(11, "big") + bytes([is_last])


def compute_plain_size(sealed_size: int) -> int:
    """Bytes of the plain object, from those of the encrypted one; -1 for a size that none has."""
    full_chunks, rest = divmod(sealed_size - HEADER_BYTES, SEALED_CHUNK_BYTES)
    if sealed_size < HEADER_BYTES + TAG_BYTES or 0 < rest < TAG_BYTES:
        return -1
    return full_chunks * CHUNK_BYTES + max(rest - TAG_BYTES, 0)


class DecryptedFile:
    """An encrypted object as a file of its plain bytes: read, seek and close.

    It ends before the first chunk that cannot be decrypted, as a file that was cut off does: whoever reads an object
    verifies its digest, and calls that damage.
    """

    def __init__(self, file: IO[bytes], find_key: Callable[[bytes], DataKey]) -> None:
        self.file = file
        self.position = 0
        self.number, self.chunk = -1, b""  # the chunk that was decrypted last
        sealed_size = file.seek(0, 2)
        self.size = compute_plain_size(sealed_size)
        self.cipher: ObjectCipher | None = None
        self.last = max((self.size - 1) // CHUNK_BYTES, 0)
        file.seek(0)
        header = read_fully(file, HEADER_BYTES)
        self.read_position = len(header)
        if self.size < 0 or not is_header(header):
            log.warning("an encrypted object has no header that can be read")
        else:
            self.cipher = ObjectCipher(find_key(header[16 : 16 + ID_BYTES]), header)

    def seek(self, position: int) -> int:
        self.position = position
        return position

    def read(self, size: int = -1) -> bytes:
        """Up to `size` bytes, at most to the end of a chunk; all of the rest for -1."""
        if size < 0:
            return b"".join(iter(lambda: self.read(CHUNK_BYTES), b""))
        if self.cipher is None or self.position >= self.size:
            return b""
        number, skip = divmod(self.position, CHUNK_BYTES)
        if number != self.number:
            self.number, self.chunk = number, self._load(number, self.cipher)
        part = self.chunk if not skip and size >= len(self.chunk) else self.chunk[skip : skip + size]
        self.position += len(part)
        return part

    def close(self) -> None:
        self.file.close()

    def _load(self, number: int, cipher: ObjectCipher) -> bytes:
        place = HEADER_BYTES + number * SEALED_CHUNK_BYTES
        if place != self.read_position:
            self.file.seek(place)
        sealed = read_fully(self.file, SEALED_CHUNK_BYTES)
        self.read_position = place + len(sealed)
        try:
            return cipher.decrypt(number, number == self.last, sealed)
        except DecryptionError:
            log.warning("chunk %s of an encrypted object cannot be decrypted", number)
            return b""


def read_fully(file: IO[bytes], size: int) -> bytes:
    """`size` bytes, or those up to the end of the file."""
    first = file.read(size)
    if len(first) == size or not first:
        return first
    parts, left = [first], size - len(first)
    while left and (part := file.read(left)):
        parts.append(part)
        left -= len(part)
    return b"".join(parts)
