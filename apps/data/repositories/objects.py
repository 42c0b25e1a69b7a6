"""Git's objects, written without Git: the same version makes the same commit on every host and at any time. Pure.

The plane stores its own commits as `serialize_objects` writes them: records of kind (1 byte), SHA-1 (20 bytes),
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
MAX_UNCOMPRESSED_BYTES = (
    256  # bytes that are stored as they are: setting zlib up takes longer than all else that is done to a pointer
)
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


def build_pointer(digest: str, size: int) -> bytes:
    """What Git holds in place of the bytes, byte for byte as git-lfs writes it; an empty file stands for itself."""
    return f"version https://git-lfs.github.com/spec/v1\noid sha256:{digest}\nsize {size}\n".encode() if size else b""


def parse_pointer(data: bytes) -> tuple[str, int] | None:
    """(digest, size) of an LFS pointer; None for a file that is none."""
    match = POINTER.fullmatch(data) if len(data) < POINTER_LIMIT else None
    return (match[1].decode(), int(match[2])) if match else None


def build_trees(files: Mapping[str, GitObject]) -> dict[str, GitObject]:
    """{folder: its tree} of {path: blob}, folders first, the root, "", last."""
    rows: dict[str, list[tuple[bytes, bytes]]] = {"": []}  # what Git sorts by, and what stands in the tree
    for path, blob in files.items():
        folder, _, last = path.rpartition("/")
        above = folder
        while above not in rows:
            rows[above] = []
            above = get_parent(above)
        name = last.encode()
        rows[folder].append((name, b"100644 " + name + b"\0" + blob.name))
    trees: dict[str, GitObject] = {}
    for folder in sorted(rows, key=lambda each: -each.count("/") - bool(each)):  # the deepest first
        tree = trees[folder] = GitObject("tree", b"".join([row for _, row in sorted(rows[folder])]))
        if folder:
            name = folder.rpartition("/")[2].encode()
            # Git sorts a folder as if its name ended in a slash.
            rows[get_parent(folder)].append((name + b"/", b"40000 " + name + b"\0" + tree.name))
    return trees


def get_parent(path: str) -> str:
    return path.rpartition("/")[0]


def build_commit(*, tree: str, before: str, author: str, at: datetime, message: str) -> GitObject:
    """`author` is "name <address>"; `before` is "" for the first one. The plane commits what others have made."""
    seconds = int(at.timestamp())
    lines = [f"tree {tree}", *([f"parent {before}"] if before else [])]
    lines += [f"author {author} {seconds} +0000", f"committer plane <plane@plane> {seconds} +0000"]
    return GitObject("commit", ("\n".join(lines) + "\n\n" + message).encode())


def serialize_objects(objects: Iterable[GitObject]) -> bytes:
    data = bytearray()
    for git_object in objects:
        body = (
            wrap_uncompressed(git_object.data)
            if len(git_object.data) < MAX_UNCOMPRESSED_BYTES
            else zlib.compress(git_object.data, 6)
        )
        data += RECORD.pack(KINDS[git_object.kind], git_object.name, len(git_object.data), len(body)) + body
    return bytes(data)


def wrap_uncompressed(data: bytes) -> bytes:
    """What zlib reads as `data`, without being pressed: one stored block (RFC 1950, and 3.2.4 of RFC 1951)."""
    size = len(data)
    head = b"\x78\x01\x01" + size.to_bytes(2, "little") + (size ^ 0xFFFF).to_bytes(2, "little")
    return head + data + zlib.adler32(data).to_bytes(4, "big")


def parse_objects(data: bytes) -> Iterator[Packed]:
    place = 0
    while place < len(data):
        kind, sha, size, length = RECORD.unpack_from(data, place)
        place += RECORD.size
        yield Packed(kind, sha, size, data[place : place + length])
        place += length


def build_pack(objects: Iterable[Packed]) -> bytes:
    """A pack, version 2, of each object once, without deltas (gitformat-pack(5))."""
    once = {packed.sha: packed for packed in objects}
    data = bytearray(b"PACK" + struct.pack(">II", 2, len(once)))
    for packed in once.values():
        size = packed.size >> 4
        head = [packed.kind << 4 | packed.size & 0xF | (0x80 if size else 0)]
        while size:
            head.append(size & 0x7F | (0x80 if size >> 7 else 0))
            size >>= 7
        data += bytes(head) + packed.body
    return bytes(data) + hashlib.sha1(data, usedforsecurity=False).digest()
