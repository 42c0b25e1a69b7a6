"""How fast the disk under the jobs' scratch writes and reads in sequence: bounded in bytes and in time.

The page cache is gone round (O_DIRECT) where the file system can; elsewhere what was written is forced to the disk, its
pages are dropped, and the figure says so.
"""

from __future__ import annotations

import mmap
import os
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

BLOCK_BYTES = 4 * 2**20
MAX_BYTES = 512 * 2**20
MAX_SECONDS = 2.0  # for writing, and again for reading
REFERENCE_BYTES_PER_SECOND = 6.5e9
"""Sequential reading of an NVMe RAID 0, by the source text; a hard disk has a twentieth."""


def measure_disk_speed(folder: Path, *, max_bytes: int = MAX_BYTES, max_seconds: float = MAX_SECONDS) -> dict[str, Any]:
    """Bytes per second of a file in `folder` that is removed again: {write, read, bytes, is_direct}.

    At most `max_bytes`, and half of what is free. Raises OSError where the folder cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    space = os.statvfs(folder)
    limit = min(max_bytes, space.f_bavail * space.f_frsize // 2) // BLOCK_BYTES * BLOCK_BYTES
    if limit < BLOCK_BYTES:
        raise OSError(28, "too little room to measure", str(folder))
    path = folder / f".disk-speed-{os.getpid()}"
    try:
        block = mmap.mmap(-1, BLOCK_BYTES)  # aligned to a page, as O_DIRECT asks
        block.write(os.urandom(BLOCK_BYTES))  # a file system that compresses gains nothing
        descriptor, is_direct = open_file(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        size, write_seconds = write_blocks(descriptor, block, limit, max_seconds)
        descriptor, _ = open_file(path, os.O_RDONLY)
        count, read_seconds = read_blocks(descriptor, block, max_seconds)
    finally:
        with suppress(FileNotFoundError):
            path.unlink()
    return {
        "write_bytes_per_second": round(size / write_seconds),
        "read_bytes_per_second": round(count / read_seconds),
        "bytes": size,
        "is_direct": is_direct,
    }


def open_file(path: Path, flags: int) -> tuple[int, bool]:
    """The file past the page cache, or with it where the file system has no other way."""
    with suppress(OSError):
        return os.open(path, flags | os.O_DIRECT, 0o600), True
    return os.open(path, flags, 0o600), False


def write_blocks(descriptor: int, block: mmap.mmap, limit: int, max_seconds: float) -> tuple[int, float]:
    """Bytes written and on the disk, and the seconds that it took."""
    start, size = time.perf_counter(), 0
    try:
        while size < limit and time.perf_counter() - start < max_seconds:
            size += os.write(descriptor, block)
        os.fsync(descriptor)
        seconds = time.perf_counter() - start
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    finally:
        os.close(descriptor)
    return size, max(seconds, 1e-9)


def read_blocks(descriptor: int, block: mmap.mmap, max_seconds: float) -> tuple[int, float]:
    """Bytes read, and the seconds that it took."""
    start, size = time.perf_counter(), 0
    try:
        while time.perf_counter() - start < max_seconds:
            count = os.readv(descriptor, [block])
            if not count:
                break
            size += count
    finally:
        os.close(descriptor)
    return size, max(time.perf_counter() - start, 1e-9)
