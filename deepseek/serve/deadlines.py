"""Bounds on connections: how long a request may take to arrive, and how long its head may be.

uvicorn times idle connections alone. A look at all connections twice a second finds those whose client sends too
slowly, or does not read its answer; it costs a request nothing.
"""

import asyncio
import time
from collections.abc import Callable, Iterable
from typing import Any
from weakref import WeakKeyDictionary

from uvicorn.protocols.http.auto import AutoHTTPProtocol

from deepseek.job import EngineError
from deepseek.serve.responses import Refused, build_refusal

CHECK_SECONDS = 0.5
IDLE_SECONDS = 5
"""A connection is kept open for so long after an answer; uvicorn closes it then."""
MIN_BYTES_PER_SECOND = 128 << 10
"""A body may take the seconds of the deadline, and as many more as it needs at this rate: no more than the longest that
is not refused."""
MAX_HEAD_BYTES = 64 << 10


class BoundedProtocol(AutoHTTPProtocol):  # type: ignore[misc, valid-type]
    """uvicorn's protocol, which would take a head of any length."""

    head_bytes = 0

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.scope is None or "method" in self.scope:
            self.head_bytes = 0
            return
        self.head_bytes += len(data)
        if self.head_bytes > MAX_HEAD_BYTES and not self.transport.is_closing():
            _refuse(self.transport, 431, b"Request Header Fields Too Large", _build_head_error())


class ConnectionDeadlines:
    """Ends connections whose request does not arrive within `seconds`."""

    def __init__(self, connections: Iterable[Any], seconds: float, find_body_limit: Callable[[str], int]) -> None:
        self.connections, self.seconds, self.find_body_limit = connections, seconds, find_body_limit
        self.ended = 0
        self._phases: WeakKeyDictionary[Any, tuple[str, Any, float]] = WeakKeyDictionary()

    async def run(self) -> None:
        """Look at the connections until it is cancelled."""
        while True:
            await asyncio.sleep(CHECK_SECONDS)
            self.check(time.monotonic())

    def check(self, now: float) -> None:
        """End what is over its time."""
        for connection in list(self.connections):
            phase, cycle = _find_phase(connection), connection.cycle
            existing = self._phases.get(connection)
            if existing is None or existing[:2] != (phase, cycle):
                self._phases[connection] = (phase, cycle, now)
            elif now - existing[2] > self._compute_limit(phase, cycle):
                self.ended += 1
                if phase in ("head", "body"):
                    _refuse(connection.transport, 408, b"Request Timeout", _build_slow_error(self.seconds))
                else:
                    connection.transport.abort()

    def _compute_limit(self, phase: str, cycle: Any) -> float:
        if phase == "computing":
            return float("inf")
        if phase == "head":
            return self.seconds + (0 if cycle is None else IDLE_SECONDS)
        if phase == "body":
            announced = next((value for name, value in cycle.scope["headers"] if name == b"content-length"), b"0")
            length = int(announced) if announced.isdigit() and len(announced) < 12 else 0
            return self.seconds + min(length, self.find_body_limit(cycle.scope["path"])) / MIN_BYTES_PER_SECOND
        return self.seconds


def _find_phase(connection: Any) -> str:
    """What a connection waits for."""
    cycle = connection.cycle
    if connection.transport.is_closing():
        return "closing"
    if cycle is None or cycle.response_complete:
        return "head"
    if cycle.response_started:
        return "answer"
    return "body" if cycle.more_body else "computing"


def _refuse(transport: Any, status: int, phrase: bytes, error: EngineError) -> None:
    body = build_refusal(Refused(error)).body
    head = b"HTTP/1.1 %d %s\r\ncontent-type: application/json\r\ncontent-length: %d\r\nconnection: close\r\n\r\n"
    transport.write(head % (status, phrase, len(body)) + body)
    transport.close()


def _build_slow_error(seconds: float) -> EngineError:
    return EngineError(
        "request_too_slow",
        "The request came too slowly.",
        limit=f"{seconds:g} s for the head, and for the body; more for a long one",
        hint="Send it again over a faster connection.",
    )


def _build_head_error() -> EngineError:
    return EngineError(
        "headers_too_large",
        f"The head of the request is longer than {MAX_HEAD_BYTES} bytes.",
        limit=str(MAX_HEAD_BYTES),
        hint="Send fewer headers.",
    )
