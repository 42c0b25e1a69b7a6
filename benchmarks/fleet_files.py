"""The download of a device's file beside `cp` and a server that only calls sendfile; for benchmarks/fleet.py."""

from __future__ import annotations

import http.client
import json
import multiprocessing
import os
import socket
import statistics
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

from benchmarks.fleet_load import add_processor
from benchmarks.seed_fleet import build_token

PATIENCE = 120
NAME_A_FILE = """
from apps.fleet.releases.models import ReleaseFile
ReleaseFile.objects.create(release_id=RELEASE, name="large.bin", artifact_id="DIGEST", size=SIZE)
"""


def send_file(listener: socket.socket, path: Path) -> None:
    """Answer every connection with the file, by sendfile."""
    while True:
        client, _ = listener.accept()
        with client, path.open("rb") as file:
            client.recv(1 << 16)
            client.sendall(f"HTTP/1.1 200 OK\r\nContent-Length: {path.stat().st_size}\r\n\r\n".encode())
            client.sendfile(file)


@contextmanager
def serve_file(path: Path) -> Iterator[tuple[int, int]]:
    """(port, process id) of a server that sends this file."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        process = multiprocessing.get_context("fork").Process(target=send_file, args=(listener, path), daemon=True)
        process.start()
        try:
            yield listener.getsockname()[1], process.pid or 0
        finally:
            process.kill()
            process.join()


def measure_files(server: Any, console: Any, facts: dict[str, Any], token: str, size: int, tries: int) -> None:
    home = Path(os.environ["PLANE_HOME"])
    plain = home / "plain.bin"
    with plain.open("wb") as file:
        for _ in range(size >> 20):
            file.write(os.urandom(1 << 20))
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=PATIENCE)
    headers = {"Authorization": f"Bearer {token}", "Content-Length": str(size)}
    with plain.open("rb") as file:
        connection.request("POST", "/api/v1/projects/demo/artifacts", file, headers)
        digest = json.loads(connection.getresponse().read())["digest"]
    named = NAME_A_FILE.replace("RELEASE", str(facts["release"])).replace("DIGEST", digest)
    console.run(named.replace("SIZE", str(size)))
    head = f"GET /api/v1/agent/files/{digest} HTTP/1.1\r\nHost: localhost\r\n"
    head += f"Authorization: Bearer {build_token(1)}\r\n\r\n"
    with serve_file(plain) as (port, peer):
        ways: dict[str, tuple[Callable[[], float], Callable[[], float]]] = {
            "a device's file": (
                lambda: receive(server.port, head.encode(), size),
                lambda: sum(server.measure_processor()),
            ),
            "a server that calls sendfile": (
                lambda: receive(port, b"GET / HTTP/1.1\r\n\r\n", size),
                lambda: add_processor(psutil.Process(peer)),
            ),
            "cp": (lambda: copy(plain), lambda: 0.0),
        }
        taken: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
        for name in [*ways] * (tries + 1):
            act, measure = ways[name]
            before = measure()
            seconds = act()
            taken[name].append((seconds, measure() - before))
    print(f"\nDownload of {size / 1e6:.0f} MB: {tries} alternating rounds, medians.\n")
    print("| by | MB/s | s | processor of the server, s for a GB |\n|---|---|---|---|")
    for name, rounds in taken.items():
        seconds, spent = (statistics.median(values) for values in zip(*rounds[1:], strict=True))
        print(f"| {name} | {size / 1e6 / seconds:,.0f} | {seconds:.2f} | {spent / size * 1e9:.2f} |")


def receive(port: int, request: bytes, size: int) -> float:
    """Seconds until the whole answer had come; its bytes are thrown away."""
    buffer = bytearray(1 << 20)
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as client:
        began = time.perf_counter()
        client.sendall(request)
        got = client.recv_into(buffer)
        assert buffer.startswith(b"HTTP/1.1 200"), bytes(buffer[:300])
        got -= buffer.index(b"\r\n\r\n") + 4
        while got < size:
            more = client.recv_into(buffer)
            assert more, f"{got} of {size} bytes came"
            got += more
        return time.perf_counter() - began


def copy(path: Path) -> float:
    target = path.with_suffix(".copy")
    began = time.perf_counter()
    subprocess.run(["cp", str(path), str(target)], check=True)
    seconds = time.perf_counter() - began
    target.unlink()
    return seconds
