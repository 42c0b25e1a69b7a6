"""A load client that costs little: one thread, epoll, one prepared request, and nothing parsed but the length.

It keeps `connections` requests under way, each sent as soon as the answer before it is complete. In Python a request
costs it some 10 microseconds, so that on two cores the server is what is measured.
"""

import json
import select
import socket
import time
from contextlib import suppress
from dataclasses import dataclass, field

INPUTS = 16
RETRY_SECONDS = 0.01


@dataclass
class Load:
    """What came back: seconds in all, seconds of each request, and the last body.

    `failures` has, for each answer that was not 200, each lost connection and each refused one, when it came; `away`
    is the longest time from such a loss to the next answer. Both in seconds, `failures` from the begin of the load.
    """

    seconds: float
    taken: list[float] = field(default_factory=list)
    failures: list[float] = field(default_factory=list)
    refused: int = 0
    away: float = 0.0
    last: bytes = b""

    @property
    def failed(self) -> int:
        return len(self.failures)


def build_request(rows: list[list[float]], path: str = "/predict", key: str = "features") -> bytes:
    """One POST as it goes over the wire."""
    body = json.dumps({key: rows}).encode()
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


def build_row() -> list[float]:
    """Numbers of four places, always the same."""
    return [round(((i * 7919) % 1000 - 500) / 250, 4) for i in range(INPUTS)]


class _Connection:
    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=20)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.data, self.sent = b"", 0.0


class _Client:
    """The connections of one load. A failed one is opened again where `reconnect` says so."""

    def __init__(self, port: int, request: bytes, seconds: float, *, reconnect: bool) -> None:
        self.port, self.request, self.reconnect = port, request, reconnect
        self.poll = select.epoll()
        self.open: dict[int, _Connection] = {}
        self.result = Load(seconds)
        self.begin = time.perf_counter()
        self.end = self.begin + seconds
        self.lost_at: float | None = None

    def connect(self) -> None:
        """Open one more connection. Raises OSError where nobody listens, unless it may try until the end."""
        while True:
            try:
                connection = _Connection(self.port)
                break
            except OSError:
                if not self.reconnect:
                    raise
                self.note_failure()
                self.result.refused += 1
                if time.perf_counter() + RETRY_SECONDS > self.end:
                    return
                time.sleep(RETRY_SECONDS)
        self.open[connection.socket.fileno()] = connection
        self.poll.register(connection.socket.fileno(), select.EPOLLIN)
        self.send(connection)

    def send(self, connection: _Connection) -> None:
        connection.sent = time.perf_counter()
        with suppress(OSError):  # the peer may have ended it, which the poll reports
            connection.socket.sendall(self.request)

    def close(self, connection: _Connection) -> None:
        number = connection.socket.fileno()
        self.poll.unregister(number)
        del self.open[number]
        connection.socket.close()

    def note_failure(self) -> None:
        now = time.perf_counter()
        self.result.failures.append(now - self.begin)
        if self.lost_at is None:
            self.lost_at = now

    def note_answer(self, connection: _Connection, head: bytes, body: bytes) -> None:
        now, result = time.perf_counter(), self.result
        result.taken.append(now - connection.sent)
        result.last = body
        if not head.startswith(b"HTTP/1.1 200"):
            self.note_failure()
        elif self.lost_at is not None:
            result.away = max(result.away, now - self.lost_at)
            self.lost_at = None
        connection.data = b""
        if now < self.end:
            self.send(connection)
        else:
            self.close(connection)

    def read(self, connection: _Connection) -> None:
        try:
            received = connection.socket.recv(1 << 16)
        except OSError:
            received = b""
        if not received:
            self.note_failure()
            self.close(connection)
            if self.reconnect and time.perf_counter() < self.end:
                self.connect()
            return
        data = connection.data + received
        head = data.find(b"\r\n\r\n")
        if head < 0 or len(data) < head + 4 + _read_length(data[:head]):
            connection.data = data
        else:
            self.note_answer(connection, data[:head], data[head + 4 :])


def drive(port: int, connections: int, seconds: float, request: bytes, reconnect: bool = False) -> Load:
    """Load the server for so long. Raises OSError where nobody listens at the begin.

    With `reconnect` it does not: a lost or refused connection is counted as failed and tried again until the end.
    """
    client = _Client(port, request, seconds, reconnect=reconnect)
    for _ in range(connections):
        client.connect()
    while client.open:
        for number, _ in client.poll.poll(20):
            if number in client.open:
                client.read(client.open[number])
    client.poll.close()
    now, result = time.perf_counter(), client.result
    if client.lost_at is not None:  # it has not come back
        result.away = max(result.away, now - client.lost_at)
    result.seconds = now - client.begin
    return result


def _read_length(head: bytes) -> int:
    lower = head.lower()
    place = lower.index(b"content-length:") + 15
    end = lower.find(b"\r\n", place)
    return int(lower[place : end if end >= 0 else None])
