"""What it costs to verify every chunk of a download: rate, ranges, memory of the web process; over HTTP and in process.

    python benchmarks/download_verification.py [--megabytes 1024] [--rounds 3]

Starts a gunicorn of its own on SQLite in a temporary home, sends one file and fetches it again and again, from the page
cache, whole and in ranges of 4 KiB at random places. The peer in the same run: one pass that reads the stored file and
throws it away, and one that reads and hashes it.
"""

from __future__ import annotations

import argparse
import hashlib
import http.client
import json
import os
import random
import shutil
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from upload_memory import BLOCK, TOKEN, blocks, memory, start, worker_of

RANGE_BYTES = 4096
RANGES = 300


def send(port: int, size: int) -> tuple[str, float]:
    """(digest, seconds) of one upload."""
    connection = http.client.HTTPConnection("127.0.0.1", port)
    headers = {"Authorization": f"Bearer {TOKEN}", "Content-Length": str(size)}
    began = time.perf_counter()
    connection.request("POST", "/api/v1/projects/demo/artifacts", body=blocks(size, 1), headers=headers)
    digest = json.loads(connection.getresponse().read())["digest"]
    took = time.perf_counter() - began
    connection.close()
    return digest, took


def fetch(connection: http.client.HTTPConnection, digest: str, span: tuple[int, int] | None = None) -> int:
    """Bytes that came."""
    headers = {"Authorization": f"Bearer {TOKEN}"}
    if span:
        headers["Range"] = f"bytes={span[0]}-{span[1]}"
    connection.request("GET", f"/api/v1/projects/demo/artifacts/{digest}", headers=headers)
    answer, buffer, count = connection.getresponse(), bytearray(BLOCK), 0
    while got := answer.readinto(buffer):
        count += got
    return count


def read_through(path: Path, take: Callable[[memoryview], object]) -> float:
    buffer, began = bytearray(BLOCK), time.perf_counter()
    with path.open("rb", buffering=0) as file:
        while got := file.readinto(buffer):
            take(memoryview(buffer)[:got])
    return time.perf_counter() - began


def processor_seconds(pid: int) -> float:
    """Of a process since it began; unlike the clock's, they hardly depend on what else the machine does."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--megabytes", type=int, default=1024)
    parser.add_argument("--rounds", type=int, default=3)
    asked = parser.parse_args()
    size = asked.megabytes * BLOCK
    home = Path(tempfile.mkdtemp(prefix="download-", dir=os.environ.get("TMPDIR")))
    process, port = start(home)
    try:
        send(port, 4 * BLOCK)
        spent = processor_seconds(worker_of(process))
        digest, took = send(port, size)
        spent = processor_seconds(worker_of(process)) - spent
        print(f"upload: {size / 1e6 / took:.0f} MB/s, {spent / size * 1e9:.2f} processor s per GB")
        path = home / "artifacts" / "sha256" / digest[:2] / digest[2:]
        connection = http.client.HTTPConnection("127.0.0.1", port)
        fetch(connection, digest, (0, 1))
        before = memory(worker_of(process))
        for number in range(1, asked.rounds + 1):
            plain, hashed = read_through(path, len), read_through(path, hashlib.sha256().update)
            connection = http.client.HTTPConnection("127.0.0.1", port)  # the passes outlast an idle one
            spent, began = processor_seconds(worker_of(process)), time.perf_counter()
            assert fetch(connection, digest) == size
            whole = time.perf_counter() - began
            spent = processor_seconds(worker_of(process)) - spent
            times = []
            for _ in range(RANGES):
                at = random.randrange(size - RANGE_BYTES)
                began = time.perf_counter()
                assert fetch(connection, digest, (at, at + RANGE_BYTES - 1)) == RANGE_BYTES
                times.append((time.perf_counter() - began) * 1e3)
            growth, peak = (now - then for now, then in zip(memory(worker_of(process)), before, strict=True))
            print(
                f"round {number}: download {size / 1e6 / whole:.0f} MB/s, {spent / size * 1e9:.2f} processor s per GB,"
                f" range p50 {statistics.median(times):.1f} ms,"
                f" read {size / 1e6 / plain:.0f} MB/s, read and hash {size / 1e6 / hashed:.0f} MB/s,"
                f" growth {growth:+.1f} MB, peak {peak:+.1f} MB"
            )
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(20)
        shutil.rmtree(home)


if __name__ == "__main__":
    main()
