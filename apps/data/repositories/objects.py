"""Git's objects, written without Git: the same version makes the same commit on every host and at any time. Pure.

`stored` is how the plane keeps objects of its own commits: record after record of kind (1 byte), SHA-1 (20 bytes),
size and compressed size (4 bytes each, big-endian), and the bytes as zlib made them.
"""

from __future__ import annotations

import hashlib
import re
import struct
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

KINDS = {"commit": 1, "tree": 2, "blob": 3}
RECORD = struct.Struct(">B20sII")
POINTER = re.compile(
    rb"version https://git-lfs\.github\.com/spec/v1\n(?:ext-\d+-[^\n]*\n)*oid sha256:([0-9a-f]{64})\nsize (\d{1,18})\n?"
)
SMALL = 256  # bytes that are stored as they are: setting zlib up takes longer than all else that is done to a pointer
POINTER_LIMIT = 1024  # bytes: a larger blob is never taken for a pointer, as git-lfs does it


class GitObject(NamedTuple):
    kind: str  # commit | tree | blob
    data: bytes

    @property
    def name(self) -> bytes:
        """Its SHA-1. Of a pointer it takes less to compute it again than to keep it: of ten thousand, that counts."""
        head = f"{self.kind} {len(self.data)}\0".encode()
        return hashlib.sha1(head + self.data, usedforsecurity=False).digest()

    @property
    def sha(self) -> str:
        return self.name.hex()


@dataclass(frozen=True, slots=True)
class Packed:
    """An object as it lies in a pack; `body` is zlib's."""

    kind: int
    sha: bytes
    size: int
    body: bytes


def pointer(digest: str, size: int) -> bytes:
    """What Git holds in place of the bytes, byte for byte as git-lfs writes it; an empty file stands for itself."""
    return f"version https://git-lfs.github.com/spec/v1\noid sha256:{digest}\nsize {size}\n".encode() if size else b""


def pointed(data: bytes) -> tuple[str, int] | None:
    """(digest, size) of an LFS pointer; None for a file that is none."""
    found = POINTER.fullmatch(data) if len(data) < POINTER_LIMIT else None
    return (found[1].decode(), int(found[2])) if found else None


def trees_of(files: Mapping[str, GitObject]) -> dict[str, GitObject]:
    """{folder: its tree} of {path: blob}, folders first, the root, "", last."""
    rows: dict[str, list[tuple[bytes, bytes]]] = {"": []}  # what Git sorts by, and what stands in the tree
    for path, blob in files.items():
        folder, _, last = path.rpartition("/")
        above = folder
        while above not in rows:
            rows[above] = []
            above = parent(above)
        name = last.encode()
        rows[folder].append((name, b"100644 " + name + b"\0" + blob.name))
    made: dict[str, GitObject] = {}
    for folder in sorted(rows, key=lambda each: -each.count("/") - bool(each)):  # the deepest first
        tree = made[folder] = GitObject("tree", b"".join([row for _, row in sorted(rows[folder])]))
        if folder:
            name = folder.rpartition("/")[2].encode()
            # Git sorts a folder as if its name ended in a slash.
            rows[parent(folder)].append((name + b"/", b"40000 " + name + b"\0" + tree.name))
    return made


def parent(path: str) -> str:
    return path.rpartition("/")[0]


def commit_of(*, tree: str, before: str, author: str, at: datetime, message: str) -> GitObject:
    """`author` is "name <address>"; `before` is "" for the first one. The plane commits what others have made."""
    seconds = int(at.timestamp())
    lines = [f"tree {tree}", *([f"parent {before}"] if before else [])]
    lines += [f"author {author} {seconds} +0000", f"committer plane <plane@plane> {seconds} +0000"]
    return GitObject("commit", ("\n".join(lines) + "\n\n" + message).encode())


def stored(objects: Iterable[GitObject]) -> bytes:
    made = bytearray()
    for one in objects:
        body = unpressed(one.data) if len(one.data) < SMALL else zlib.compress(one.data, 6)
        made += RECORD.pack(KINDS[one.kind], one.name, len(one.data), len(body)) + body
    return bytes(made)


def unpressed(data: bytes) -> bytes:
    """What zlib reads as `data`, without being pressed: one stored block (RFC 1950, and 3.2.4 of RFC 1951)."""
    size = len(data)
    head = b"\x78\x01\x01" + size.to_bytes(2, "little") + (size ^ 0xFFFF).to_bytes(2, "little")
    return head + data + zlib.adler32(data).to_bytes(4, "big")


def read_stored(data: bytes) -> Iterator[Packed]:
    place = 0
    while place < len(data):
        kind, sha, size, length = RECORD.unpack_from(data, place)
        place += RECORD.size
        yield Packed(kind, sha, size, data[place : place + length])
        place += length


def pack_of(objects: Iterable[Packed]) -> bytes:
    """A pack, version 2, of each object once, without deltas (gitformat-pack(5))."""
    once = {one.sha: one for one in objects}
    made = bytearray(b"PACK" + struct.pack(">II", 2, len(once)))
    for one in once.values():
        size = one.size >> 4
        head = [one.kind << 4 | one.size & 0xF | (0x80 if size else 0)]
        while size:
            head.append(size & 0x7F | (0x80 if size >> 7 else 0))
            size >>= 7
        made += bytes(head) + one.body
    return bytes(made) + hashlib.sha1(made, usedforsecurity=False).digest()
