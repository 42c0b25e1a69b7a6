"""A load client for benchmarks/fleet.py: one process, epoll, requests that were made before, answers hardly looked at.

Each connection sends its next request as soon as the answer before it is complete. Answers without a length have no
body, as those of 304. `fresh`: a new connection for each request, as devices come that ask every five minutes.
"""

from __future__ import annotations

import itertools
import multiprocessing
import select
import socket
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import psutil

PATIENCE = 30.0
RECEIVED = 1 << 16


@dataclass
class Load:
    """What came back."""

    seconds: float = 0.0
    taken: list[float] = field(default_factory=list, repr=False)  # seconds of each request
    failed: int = 0  # answers of another status
    lost: int = 0  # connections that were closed instead of an answer: a web process ends after 50,000 requests
    processor: float = 0.0  # seconds that this client took itself


class Connection:
    """A socket, what has come of the answer, and when its request was sent."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.data, self.sent = b"", 0.0

    def send(self, request: bytes, now: float) -> None:
        self.data, self.sent = b"", now
        self.socket.sendall(request)


class Client:
    def __init__(self, port: int, requests: Iterable[bytes], status: bytes, fresh: bool) -> None:
        self.port, self.status, self.fresh = port, b"HTTP/1.1 " + status, fresh
        self.requests: Iterator[bytes] = itertools.cycle(requests)
        self.poll, self.open = select.epoll(), {}
        self.load = Load()

    def begin(self, connection: Connection | None = None) -> None:
        now = time.perf_counter()  # of a fresh connection the handshake counts
        if connection is None:
            connection = Connection(self.port)
            self.open[connection.socket.fileno()] = connection
            self.poll.register(connection.socket.fileno(), select.EPOLLIN)
        connection.send(next(self.requests), now)

    def end(self, number: int) -> None:
        self.poll.unregister(number)
        self.open.pop(number).socket.close()

    def run(self, connections: int, seconds: float) -> Load:
        began = time.perf_counter()
        deadline = began + seconds
        for _ in range(connections):
            self.begin()
        while self.open:
            for number, _ in self.poll.poll(PATIENCE):
                self.read(number, deadline)
        self.load.seconds = time.perf_counter() - began
        return self.load

    def run_at_rate(self, rate: float, seconds: float) -> Load:
        """A new connection for each request, so many a second, whether those before were answered or not."""
        began = due = time.perf_counter()
        deadline = began + seconds
        while self.open or due < deadline:
            now = time.perf_counter()
            while due <= now and due < deadline:
                self.begin()
                due += 1 / rate
            for number, _ in self.poll.poll(max(due - now, 0) if due < deadline else PATIENCE):
                self.read(number, 0)
        self.load.seconds = time.perf_counter() - began
        return self.load

    def read(self, number: int, deadline: float) -> None:
        connection = self.open[number]
        try:
            data = connection.socket.recv(RECEIVED)
        except OSError:
            data = b""
        connection.data += data
        if data and not is_complete(connection.data):
            return
        now = time.perf_counter()
        if data:
            self.load.taken.append(now - connection.sent)
            self.load.failed += not connection.data.startswith(self.status)
        else:
            self.load.lost += 1
        if self.fresh or not data or now >= deadline:
            self.end(number)
            if now < deadline:
                self.begin()
        else:
            self.begin(connection)


def is_complete(data: bytes) -> bool:
    head = data.find(b"\r\n\r\n")
    if head < 0:
        return False
    place = data.lower().find(b"content-length:", 0, head)
    length = int(data[place + 15 : data.index(b"\r\n", place)]) if place >= 0 else 0
    return len(data) >= head + 4 + length


@dataclass
class Plan:
    """How a server is to be loaded: by so many connections at once, or with `rate` by so many requests a second."""

    connections: int
    seconds: float
    status: bytes = b"200"
    fresh: bool = False
    rate: float = 0


def work(port: int, requests: list[bytes], plan: Plan, results: Any) -> None:
    began = time.process_time()
    client = Client(port, requests, plan.status, plan.fresh or bool(plan.rate))
    if plan.rate:
        load = client.run_at_rate(plan.rate, plan.seconds)
    else:
        load = client.run(plan.connections, plan.seconds)
    load.processor = time.process_time() - began
    results.put(load)


def drive(port: int, requests: list[bytes], plan: Plan) -> Load:
    """Load the server from a process of its own."""
    context = multiprocessing.get_context("fork")
    results = context.Queue()
    process = context.Process(target=work, args=(port, requests, plan, results))
    process.start()
    try:
        return results.get(timeout=plan.seconds + 2 * PATIENCE)
    finally:
        process.join(PATIENCE)


def add_processor(process: psutil.Process) -> float:
    """Seconds of a process and of those below it, those that have ended included."""
    spent = 0.0
    for one in (process, *process.children(recursive=True)):
        try:
            times = one.cpu_times()
        except psutil.NoSuchProcess:
            continue
        spent += times.user + times.system
        if one == process:
            spent += times.children_user + times.children_system
    return spent
