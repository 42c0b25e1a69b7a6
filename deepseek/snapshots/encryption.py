"""Encryption of one object as a stream: AES-256-GCM over segments of 1 MiB, in the manner of STREAM.

    "DSO1"  flags (1)  salt (32)  segment...        a segment: its ciphertext and a tag of 16 bytes

The key is derived of the data key, the object's name and the salt, so it is used for one object alone and an object
that lies under another's name does not open. The nonce counts the segments and marks the last: none can be left out,
moved or cut off. Hoang, Reyhanitabar, Rogaway, Vizar: Online Authenticated-Encryption and its Nonce-Reuse Misuse-
Resistance, CRYPTO 2015.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterable, Iterator

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from deepseek.snapshots.errors import build_damage_error
from deepseek.snapshots.keys import RepositoryKeys

MAGIC = b"DSO1"
COMPRESSED = 1
SALT_BYTES = 32
SEGMENT_BYTES = 1 << 20
TAG_BYTES = 16
HEADER_BYTES = len(MAGIC) + 1 + SALT_BYTES
COMPRESSION_LEVEL = 1  # a dump shrinks to a quarter at the speed of a disk; higher levels gain a tenth and cost thrice


def encrypt(
    keys: RepositoryKeys, name: str, chunks: Iterable[bytes], *, is_compressed: bool = False
) -> Iterator[bytes]:
    """The bytes of the object `name`, piece by piece; memory: two segments."""
    salt = os.urandom(SALT_BYTES)
    header = MAGIC + bytes([COMPRESSED if is_compressed else 0]) + salt
    cipher = AESGCM(keys.derive_object_key(name, salt))
    yield header
    previous: bytes | None = None
    number = 0
    for segment in split_segments(compress(chunks) if is_compressed else chunks, SEGMENT_BYTES):
        if previous is not None:
            yield cipher.encrypt(build_nonce(number, is_last=False), previous, header)
            number += 1
        previous = segment
    yield cipher.encrypt(build_nonce(number, is_last=True), previous or b"", header)


def decrypt(keys: RepositoryKeys, name: str, chunks: Iterable[bytes]) -> Iterator[bytes]:
    """The plain bytes of an object. Raises SnapshotError `snapshot_damaged` at the first segment that is not whole.

    What was yielded before that is authentic, but the object is complete only when the iterator ends.
    """
    rest = iter(split_segments(chunks, SEGMENT_BYTES + TAG_BYTES, HEADER_BYTES))
    header = next(rest, b"")
    if len(header) != HEADER_BYTES or not header.startswith(MAGIC) or header[len(MAGIC)] not in (0, COMPRESSED):
        raise build_damage_error(name)
    cipher = AESGCM(keys.derive_object_key(name, header[-SALT_BYTES:]))
    decrypted = decrypt_segments(cipher, header, name, rest)
    yield from decompress(decrypted, name) if header[len(MAGIC)] == COMPRESSED else decrypted


def decrypt_segments(cipher: AESGCM, header: bytes, name: str, segments: Iterator[bytes]) -> Iterator[bytes]:
    current = next(segments, None)
    number = 0
    while current is not None:
        following = next(segments, None)
        try:
            yield cipher.decrypt(build_nonce(number, is_last=following is None), current, header)
        except InvalidTag:
            raise build_damage_error(name) from None
        current, number = following, number + 1
    if number == 0:
        raise build_damage_error(name)


def build_nonce(number: int, *, is_last: bool) -> bytes:
    return number.to_bytes(11, "big") + (b"\x01" if is_last else b"\x00")


def split_segments(chunks: Iterable[bytes], size: int, first: int = 0) -> Iterator[bytes]:
    """The same bytes in pieces of `size`, the last one shorter; with `first`, one of that length before them."""
    pending = bytearray()
    left = first or size
    for chunk in chunks:
        if not pending and len(chunk) == left:  # the usual case, without a copy
            yield chunk
            left = size
            continue
        pending += chunk
        while len(pending) >= left:
            yield bytes(pending[:left])
            del pending[:left]
            left = size
    if pending:
        yield bytes(pending)


def compress(chunks: Iterable[bytes]) -> Iterator[bytes]:
    packer = zlib.compressobj(COMPRESSION_LEVEL)
    for chunk in chunks:
        yield packer.compress(chunk)
    yield packer.flush()


def decompress(chunks: Iterable[bytes], name: str) -> Iterator[bytes]:
    unpacker = zlib.decompressobj()
    try:
        for chunk in chunks:
            yield unpacker.decompress(chunk)
        yield unpacker.flush()
    except zlib.error:
        raise build_damage_error(name) from None
    if not unpacker.eof:
        raise build_damage_error(name)
