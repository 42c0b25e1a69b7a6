"""Files that another process reads for this one: ranges are requested over a pipe, so no path or store is needed.

The parent verifies what it sends. One message is a letter and its fields:

    to the parent    R  file, start, length     a range of a file
                     A  length, JSON            the answer, the last message
    to the child     length, bytes              first the query as JSON, then each range
"""

from __future__ import annotations

import io
import json
import os
import struct
import sys
from typing import Any

RANGE = struct.Struct("<cIQQ")
SIZE = struct.Struct("<Q")
REQUEST, ANSWER = b"R", b"A"
STDIN, STDOUT = 0, 1


class ParentGone(EOFError):
    """The parent closed the pipe."""


def read_exactly(fd: int, size: int) -> bytes:
    """Read `size` bytes from a pipe. Raises ParentGone where it ends before."""
    data = bytearray(size)
    view, place = memoryview(data), 0
    while place < size:
        count = os.readv(fd, [view[place:]])
        if not count:
            raise ParentGone
        place += count
    return bytes(data)


def read_message(fd: int = STDIN) -> bytes:
    (size,) = SIZE.unpack(read_exactly(fd, SIZE.size))
    return read_exactly(fd, size)


def write_all(data: bytes, fd: int = STDOUT) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


def write_answer(document: dict[str, Any]) -> None:
    data = json.dumps(document, ensure_ascii=False).encode(errors="replace")
    write_all(ANSWER + SIZE.pack(len(data)) + data)


class RangeFile(io.RawIOBase):
    """One of the files of the parent, by its number. Reads are never short but at the end."""

    def __init__(self, number: int, size: int) -> None:
        super().__init__()
        self.number, self.size, self.place = number, size, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self.place

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self.place, os.SEEK_END: self.size}[whence]
        self.place = max(0, base + offset)
        return self.place

    def read(self, size: int | None = -1) -> bytes:
        left = max(0, self.size - self.place)
        length = left if size is None or size < 0 else min(size, left)
        if not length:
            return b""
        write_all(RANGE.pack(REQUEST, self.number, self.place, length))
        data = read_message()
        if len(data) != length:
            raise OSError(f"file {self.number} ended at {self.place + len(data)}, not at {self.place + length}")
        self.place += length
        return data

    def readinto(self, buffer: Any) -> int:
        data = self.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)


def redirect_prints() -> None:
    """Send what libraries print to standard error: standard output carries the messages."""
    sys.stdout = sys.stderr
