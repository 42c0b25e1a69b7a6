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

KINDS = {"commit": 1, "tree": 2, "blob": 3}
RECORD = struct.Struct(">B20sII")
POINTER = re.compile(
    rb"version https://git-lfs\.github\.com/spec/v1\n(?:ext-\d+-[^\n]*\n)*oid sha256:([0-9a-f]{64})\nsize (\d{1,18})\n?"
)
POINTER_LIMIT = 1024  # bytes: a larger blob is never taken for a pointer, as git-lfs does it


@dataclass(frozen=True, slots=True)
class GitObject:
    kind: str  # commit | tree | blob
    data: bytes

    @property
    def sha(self) -> str:
        head = f"{self.kind} {len(self.data)}\0".encode()
        return hashlib.sha1(head + self.data, usedforsecurity=False).hexdigest()


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


def trees_of(files: Mapping[str, str]) -> list[GitObject]:
    """The trees of {path: SHA-1 of its blob}, folders first, the root last."""
    rows: dict[str, list[tuple[bytes, bytes, str]]] = {"": []}
    for path, sha in files.items():
        folder = above = parent(path)
        while above not in rows:
            rows[above] = []
            above = parent(above)
        rows[folder].append((path.rpartition("/")[2].encode(), b"100644", sha))
    made: list[GitObject] = []
    for folder in sorted(rows, key=lambda each: -each.count("/") - bool(each)):  # the deepest first
        # Git sorts a folder as if its name ended in a slash.
        inside = sorted(rows[folder], key=lambda row: row[0] + (b"/" if row[1] == b"40000" else b""))
        parts = (b"%s %s\0%s" % (mode, name, bytes.fromhex(sha)) for name, mode, sha in inside)
        made.append(GitObject("tree", b"".join(parts)))
        if folder:
            rows[parent(folder)].append((folder.rpartition("/")[2].encode(), b"40000", made[-1].sha))
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
        body = zlib.compress(one.data, 6)
        made += RECORD.pack(KINDS[one.kind], bytes.fromhex(one.sha), len(one.data), len(body)) + body
    return bytes(made)


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
