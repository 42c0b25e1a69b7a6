"""Measurements of file systems. What they write lies in a folder of its own and is removed again."""

from __future__ import annotations

import fcntl
import mmap
import os
import random
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

READ_BYTES = 256 << 20
BLOCK_BYTES = 4 << 20
READ_SECONDS = 5.0


def find_mount(path: str) -> dict[str, Any]:
    """The mount that holds `path`, by the longest mount point above it."""
    real = os.path.realpath(path)
    best = {"mount": "", "type": "", "device": "", "options": []}
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        before, _, after = line.partition(" - ")
        fields, rest = before.split(), after.split()
        point = fields[4].encode().decode("unicode_escape")
        is_above = real == point or real.startswith(point.rstrip("/") + "/")
        if is_above and len(point) >= len(str(best["mount"])):
            options = sorted({*fields[5].split(","), *rest[2].split(",")})
            best = {"mount": point, "type": rest[0], "device": rest[1], "options": options}
    return best


def describe_file_system(path: str) -> dict[str, Any]:
    folder = Path(path)
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    stats = os.statvfs(folder)
    return {
        "free_bytes": stats.f_bavail * stats.f_frsize,
        "total_bytes": stats.f_blocks * stats.f_frsize,
        "free_inodes": stats.f_favail,
        "total_inodes": stats.f_files,
        **find_mount(str(folder)),
    }


def try_operations(path: str) -> dict[str, Any]:
    """Whether link, rename, lock and fsync do what the store and the database rest on."""
    answer = {"link": False, "rename": False, "lock": False, "fsync": False}
    try:
        temporary = tempfile.TemporaryDirectory(prefix=".doctor-", dir=path)
    except OSError as error:
        return {"unmeasured": f"Nothing can be written at {path}: {error.strerror}."}
    with temporary as name:
        folder = Path(name)
        first, second = folder / "first", folder / "second"
        first.write_bytes(b"first")
        second.write_bytes(b"second")
        attempts: dict[str, Callable[[], None]] = {
            "link": lambda: os.link(first, folder / "linked"),
            "rename": lambda: os.replace(second, first),
            "lock": lambda: _lock(first),
            "fsync": lambda: _sync(folder),
        }
        for key, attempt in attempts.items():
            try:
                attempt()
                answer[key] = True
            except OSError:
                continue
        if answer["rename"]:
            answer["rename"] = first.read_bytes() == b"second"
        if answer["link"]:
            answer["link"] = (folder / "linked").read_bytes() == b"first"
    return answer


def _lock(path: Path) -> None:
    with path.open("rb+") as file, path.open("rb+") as second:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        try:
            fcntl.flock(second, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return
        raise OSError("a second lock was granted")


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def measure_fsync(path: str) -> dict[str, Any]:
    """Milliseconds of 200 synced writes of 4 KiB: the median and the 99th percentile."""
    with tempfile.NamedTemporaryFile(prefix=".doctor-", dir=path) as file:
        times, block = [], bytes(4096)
        for _ in range(200):
            start = time.perf_counter()
            file.write(block)
            file.flush()
            os.fsync(file.fileno())
            times.append(1000 * (time.perf_counter() - start))
    times.sort()
    return {"p50_ms": times[100], "p99_ms": times[198]}


def _write_sample(path: str) -> str:
    descriptor, name = tempfile.mkstemp(prefix=".doctor-", dir=path)
    with os.fdopen(descriptor, "wb") as file:
        block = os.urandom(BLOCK_BYTES)
        for _ in range(READ_BYTES // BLOCK_BYTES):
            file.write(block)
        file.flush()
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    return name


def _open_direct(name: str) -> tuple[int, bool]:
    try:
        return os.open(name, os.O_RDONLY | os.O_DIRECT), True
    except OSError:
        return os.open(name, os.O_RDONLY), False


def measure_sequential_read(path: str) -> dict[str, Any]:
    """Bytes per second of reading 256 MiB in blocks of 4 MiB, past the page cache where the file system allows."""
    name = _write_sample(path)
    try:
        descriptor, direct = _open_direct(name)
        buffer, count, start = mmap.mmap(-1, BLOCK_BYTES), 0, time.perf_counter()
        while (size := os.readv(descriptor, [buffer])) and time.perf_counter() - start < READ_SECONDS:
            count += size
        seconds = time.perf_counter() - start
        os.close(descriptor)
    finally:
        os.unlink(name)
    return {"bytes_per_second": count / seconds, "direct": direct}


def measure_random_reads(path: str) -> dict[str, Any]:
    """Reads of 4 KiB per second at random places of 256 MiB, one after another, for 2 s."""
    name = _write_sample(path)
    try:
        descriptor, direct = _open_direct(name)
        buffer, count, start = mmap.mmap(-1, 4096), 0, time.perf_counter()
        places = random.Random(7)  # noqa: S311  where to read, no secret
        while time.perf_counter() - start < 2:
            os.preadv(descriptor, [buffer], 4096 * places.randrange(READ_BYTES // 4096))
            count += 1
        seconds = time.perf_counter() - start
        os.close(descriptor)
    finally:
        os.unlink(name)
    return {"reads_per_second": count / seconds, "direct": direct}


PROBES = {
    "file_system": describe_file_system,
    "atomic": try_operations,
    "fsync": measure_fsync,
    "read_sequential": measure_sequential_read,
    "read_random": measure_random_reads,
}
