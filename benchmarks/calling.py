"""Calls to an MLflow server over connections that are kept, and what they took."""

from __future__ import annotations

import http.client
import json
import socket
import statistics
import threading
import time
import urllib.parse
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

BASE = "/api/2.0/mlflow/"
TRIES = 2  # a server may close a connection that was kept


class Caller:
    """One connection. `runs` are those that this caller wrote to."""

    def __init__(self, address: str, token: str = "") -> None:
        found = urllib.parse.urlsplit(address)
        self.connection = http.client.HTTPConnection(found.hostname or "", found.port, timeout=120)
        self.headers = {"Content-Type": "application/json"}
        if token:
            self.headers["Authorization"] = f"Bearer {token}"
        self.runs: list[str] = []

    def wrote_to(self, run: str) -> str:
        self.runs.append(run)
        return run

    def post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        return self.call("POST", path, json.dumps(body).encode())

    def get(self, path: str, query: dict[str, Any]) -> dict[str, Any]:
        return self.call("GET", f"{path}?{urllib.parse.urlencode(query)}", None)

    def call(self, verb: str, path: str, data: bytes | None) -> dict[str, Any]:
        for left in reversed(range(TRIES)):
            try:
                if self.connection.sock is None:
                    self.connection.connect()
                    self.connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self.connection.request(verb, BASE + path, data, self.headers)
                answer = self.connection.getresponse()
                content = answer.read()
                break
            except (http.client.HTTPException, OSError):
                self.connection.close()
                if not left:
                    raise
        if answer.status != 200:
            raise RuntimeError(f"{verb} {path}: {answer.status} {content[:300]!r}")
        return json.loads(content)


@dataclass
class Measured:
    """Some calls: how many, in which time, and what each took."""

    calls: int
    seconds: float
    took: list[float] = field(repr=False)
    processor_ms: float = 0.0  # of server and database together, a call
    per_second: float = 0.0
    p50_ms: float = 0.0

    @classmethod
    def of(cls, took: list[float], seconds: float) -> Measured:
        return cls(len(took), seconds, took, 0.0, len(took) / seconds, statistics.median(took) * 1e3)

    @classmethod
    def median(cls, rounds: Sequence[Measured]) -> Measured:
        """The medians of several rounds, each by itself."""
        found = cls(sum(one.calls for one in rounds), sum(one.seconds for one in rounds), [])
        for name in ("processor_ms", "per_second", "p50_ms"):
            setattr(found, name, statistics.median(getattr(one, name) for one in rounds))
        return found


def at_once(calls: Sequence[Callable[[int], Any]], seconds: float, count: int | None = None) -> Measured:
    """Every call in a thread of its own, again and again for so long, or so often; an error ends the benchmark."""
    ready = threading.Barrier(len(calls))

    def work(call: Callable[[int], Any]) -> list[float]:
        mine: list[float] = []
        ready.wait()
        deadline = time.perf_counter() + seconds
        while (begun := time.perf_counter()) < deadline and (count is None or len(mine) < count):
            call(len(mine))
            mine.append(time.perf_counter() - begun)
        return mine

    with ThreadPoolExecutor(len(calls)) as pool:
        begun = time.perf_counter()
        took = [one for mine in pool.map(work, calls) for one in mine]
        return Measured.of(took, time.perf_counter() - begun)
