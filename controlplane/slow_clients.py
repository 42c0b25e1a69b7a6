"""Limits on clients that send or read slowly, or open many connections, at the sockets of the web server.

`RequestBuffer` collects a request without a thread; `ClientSocket` bounds how long a thread waits for its client.
The worker that uses both is controlplane/keepalive_worker.py.
"""

from __future__ import annotations

import errno
import fcntl
import ipaddress
import json
import os
import re
import select
import socket
import struct
import termios
import time
from dataclasses import dataclass
from functools import lru_cache
from http import HTTPStatus
from typing import Any

from deepseek.messages import Message

MAX_HEAD_BYTES = 64 * 1024  # request line and headers together, as MLflow's own server: filters are long
MAX_COLLECTED_BODY_BYTES = 64 * 1024  # of a body, before a thread takes the request
SENDFILE_BYTES = 1024 * 1024
IPV6_SITE_BITS = 64  # one machine has that many addresses at will

HEAD_END = b"\r\n\r\n"
CONTENT_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*([0-9]{1,18})[ \t]*\r\n", re.IGNORECASE)
OPEN_ENDED = re.compile(rb"\r\n(?:transfer-encoding|expect)[ \t]*:", re.IGNORECASE)

Bytes = bytes | bytearray | memoryview


@dataclass(frozen=True, slots=True)
class ClientLimits:
    """How slow a client may be: `stall_seconds` of waiting must bring `min_rate` bytes per second on average."""

    header_seconds: float
    stall_seconds: float
    min_rate: int
    per_address: int

    @property
    def bytes_per_window(self) -> float:
        return self.stall_seconds * self.min_rate


class SlowClient(OSError):
    """The client sent or read less than it must. EPIPE: gunicorn closes the connection without a trace in its log."""

    def __init__(self) -> None:
        super().__init__(errno.EPIPE, "The client was too slow.")


# -- requests that arrive -------------------------------------------------------------------------------------------
class RequestBuffer:
    """The bytes of a request that have arrived so far, and whether a thread should take them.

    This decides when the parser gets the bytes, never where a message ends: the parser gets all of them, as they
    came. What looks different to the two costs a thread some waiting, which ClientSocket bounds.
    """

    def __init__(self) -> None:
        self.data = bytearray()
        self.head_bytes = 0  # 0: the end of the headers has not arrived
        self.announced_bytes = 0  # by Content-Length; 0: none, or the end is open
        self.body_bytes = 0  # to collect before a thread is taken
        self.has_more = False  # the body goes on after what is collected here
        self.is_malformed = False  # never ends: the parser refuses it at once

    def add(self, data: bytes) -> None:
        before = len(self.data)
        self.data += data
        if self.head_bytes or self.is_malformed:
            return
        end = self.data.find(HEAD_END, max(before - 3, 0))
        if end < 0:
            self.is_malformed = has_bare_line_feed(self.data, before)
            return
        self.head_bytes = end + len(HEAD_END)
        head = bytes(self.data[: self.head_bytes])
        length = CONTENT_LENGTH.search(head)
        announced = int(length[1]) if length else 0
        if OPEN_ENDED.search(head):
            self.has_more = True  # its end cannot be told here, or the client waits for 100 Continue
        else:
            self.announced_bytes = announced
            self.body_bytes = min(announced, MAX_COLLECTED_BODY_BYTES)
            self.has_more = announced > MAX_COLLECTED_BODY_BYTES

    @property
    def is_ready(self) -> bool:
        """Whether the parser will find a whole request, or as much of it as is collected here."""
        if self.is_malformed:
            return True
        return bool(self.head_bytes) and len(self.data) >= self.head_bytes + self.body_bytes

    @property
    def is_too_large(self) -> bool:
        return not self.head_bytes and len(self.data) > MAX_HEAD_BYTES


def has_bare_line_feed(data: bytearray, start: int) -> bool:
    """Whether a line from `start` on ends without CR: such a request never ends the way HTTP has it."""
    at = data.find(b"\n", start)
    while at >= 0:
        if at == 0 or data[at - 1] != ord("\r"):
            return True
        at = data.find(b"\n", at + 1)
    return False


# -- waiting for a client -------------------------------------------------------------------------------------------
class ClientSocket(socket.socket):
    """A client's connection, whose waits end with SlowClient when the client sends or reads too little.

    The descriptor never blocks; `setblocking` and `settimeout` say how calls behave. Only time that is spent waiting
    counts: a client is not slow while the plane itself is busy. `waits` holds the sockets that a thread waits for.
    """

    def __init__(self, accepted: socket.socket, limits: ClientLimits, waits: set[ClientSocket]) -> None:
        family, kind, protocol = accepted.family, accepted.type, accepted.proto
        super().__init__(family, kind, protocol, fileno=accepted.detach())
        super().setblocking(False)
        self.limits, self.waits = limits, waits
        self.patience: float | None = 0.0
        self.received = self.sent = 0  # bytes, of this connection
        self.has_place = False  # among the requests whose bodies threads read
        self.is_evicted = False  # by the worker's main loop
        self.expired_event = 0  # what the client was too slow at: POLLIN or POLLOUT
        self.begin_request()

    def begin_request(self) -> None:
        self.sent_before = self.sent
        self.open_window(select.POLLIN)

    @property
    def is_expired(self) -> bool:
        return bool(self.expired_event)

    @property
    def has_answered(self) -> bool:
        """Whether bytes of an answer to the current request were written."""
        return self.sent > self.sent_before

    def setblocking(self, flag: bool) -> None:
        self.patience = None if flag else 0.0

    def settimeout(self, value: float | None) -> None:
        self.patience = value

    def gettimeout(self) -> float | None:
        return self.patience

    def recv(self, size: int, flags: int = 0) -> bytes:
        while True:
            try:
                data = super().recv(size, flags)
            except BlockingIOError:
                self.wait(select.POLLIN)
                continue
            if not data and self.is_evicted:
                raise self.expire()
            self.received += len(data)
            return data

    def recv_now(self, size: int) -> bytes:
        """Receive what has arrived without waiting; BlockingIOError if nothing has."""
        data = super().recv(size)
        self.received += len(data)
        return data

    def send(self, data: Bytes, flags: int = 0) -> int:
        """For gunicorn's `100 Continue`, which is no answer yet."""
        before = self.sent
        self.sendall(data, flags)
        self.sent_before += self.sent - before
        return self.sent - before

    def sendall(self, data: Bytes, flags: int = 0) -> None:
        if self.is_expired:
            raise SlowClient
        rest = memoryview(data).cast("B")
        while rest.nbytes:
            try:
                count = super().send(rest, flags)
            except BlockingIOError:
                self.wait(select.POLLOUT)
                continue
            self.sent += count
            rest = rest[count:]

    def send_now(self, data: bytes) -> None:
        """Send without waiting, ignoring errors: the final response to a client that is given up."""
        try:
            super().send(data)
        except OSError:
            return

    def sendfile(self, file: Any, offset: int = 0, count: int | None = None) -> int:
        if self.is_expired:
            raise SlowClient
        done = 0
        while count is None or done < count:
            size = SENDFILE_BYTES if count is None else min(SENDFILE_BYTES, count - done)
            try:
                moved = os.sendfile(self.fileno(), file.fileno(), offset + done, size)
            except BlockingIOError:
                self.wait(select.POLLOUT)
                continue
            if not moved:
                break
            done += moved
            self.sent += moved
        return done

    def wait(self, event: int) -> None:
        """Return when the socket is ready; SlowClient, TimeoutError or BlockingIOError when it may not wait longer."""
        if self.patience == 0:
            raise BlockingIOError(errno.EAGAIN, "Nothing to read, or no room to write.")
        if event != self.window_event:
            self.open_window(event)
        if not self.window_waited:
            self.window_start = self.progress()
        seconds = max(self.limits.stall_seconds - self.window_waited, 0.0)
        if self.patience is not None:
            seconds = min(seconds, self.patience)
        poll = select.poll()
        poll.register(self, event)
        began = self.waiting_since = time.monotonic()
        self.waits.add(self)
        try:
            ready = poll.poll(seconds * 1000 + 1)
        finally:
            self.waits.discard(self)
            self.waiting_since = 0.0
            self.window_waited += time.monotonic() - began
        if self.is_evicted:
            raise self.expire()
        if self.window_waited >= self.limits.stall_seconds:
            if self.progress() - self.window_start < self.limits.bytes_per_window:
                raise self.expire()
            self.open_window(event)
        if not ready and self.patience is not None:
            raise TimeoutError

    def open_window(self, event: int) -> None:
        """Begin a span of `stall_seconds` of waiting, at whose end the client must have moved enough."""
        self.window_event = event
        self.window_waited = self.waiting_since = 0.0
        self.window_start = 0

    def progress(self) -> int:
        """Bytes that the client has sent, or has taken: what still lies in the kernel's queue it has not."""
        return self.received if self.window_event == select.POLLIN else self.sent - count_unsent_bytes(self)

    def waited(self, now: float) -> float:
        """Seconds of the current window that were spent waiting."""
        since = self.waiting_since
        return self.window_waited + (now - since if since else 0.0)

    def rate(self, now: float) -> float:
        """Bytes per second of waiting, in the current window."""
        return (self.progress() - self.window_start) / max(self.waited(now), 0.001)

    def evict(self) -> None:
        """Called by another thread: end the wait that a thread is in now."""
        self.is_evicted = True
        try:
            self.shutdown(socket.SHUT_RD if self.window_event == select.POLLIN else socket.SHUT_RDWR)
        except OSError:
            return

    def reset_on_close(self) -> None:
        """Let the kernel forget what the client has not read: it would keep megabytes of it for minutes."""
        self.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    def expire(self) -> SlowClient:
        if not self.is_expired:
            self.expired_event = self.window_event
            if self.expired_event == select.POLLOUT:
                self.reset_on_close()  # here: gunicorn may close the socket in its thread
        return SlowClient()


def count_unsent_bytes(connection: socket.socket) -> int:
    """Bytes in the kernel's send queue that the other side has not acknowledged."""
    return count_bytes(connection, termios.TIOCOUTQ)


def count_unread_bytes(connection: socket.socket) -> int:
    """Bytes that have arrived and were not read yet."""
    return count_bytes(connection, termios.FIONREAD)


def count_bytes(connection: socket.socket, queue: int) -> int:
    """The length of one of the kernel's queues; 0 where the system cannot say."""
    try:
        return int(struct.unpack("i", fcntl.ioctl(connection.fileno(), queue, bytes(4)))[0])
    except (OSError, ValueError):  # closed by a thread meanwhile
        return 0


# -- addresses and answers ------------------------------------------------------------------------------------------
@lru_cache(maxsize=4096)
def group_address(address: str) -> str:
    """The key by which connections are counted: an IPv4 address, or the /64 network of an IPv6 address."""
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(parsed, ipaddress.IPv6Address):
        if parsed.ipv4_mapped:
            return str(parsed.ipv4_mapped)
        return str(ipaddress.ip_network((parsed, IPV6_SITE_BITS), strict=False))
    return str(parsed)


@lru_cache(maxsize=4096)
def is_in_networks(address: str, networks: tuple[str, ...]) -> bool:
    """Whether the address lies in one of the networks; `*` stands for every address."""
    if "*" in networks:
        return True
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return False
    return any(parsed in ipaddress.ip_network(network) for network in networks)


def build_refusal(status: HTTPStatus, code: str, message: str, hint: str) -> bytes:
    """Build a complete HTTP error response in the usual JSON format, for a request that reaches no view."""
    error = {"code": code, "message": message, "field": None, "limit": None, "hint": hint}
    body = json.dumps({"error": {**error, "errors": [error]}}).encode()
    head = (
        f"HTTP/1.1 {status.value} {status.phrase}\r\nConnection: close\r\nContent-Type: application/json\r\n"
        f"Cache-Control: no-store\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


TOO_SLOW = build_refusal(
    HTTPStatus.REQUEST_TIMEOUT,
    "request_too_slow",
    Message("The request arrived too slowly and was given up."),
    Message("Send it again. CLIENT_HEADER_SECONDS, CLIENT_STALL_SECONDS and CLIENT_MIN_RATE set the limits."),
)
HEAD_TOO_LARGE = build_refusal(
    HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
    "headers_too_large",
    Message("The request line and headers are larger than {max_head_bytes} bytes.", max_head_bytes=MAX_HEAD_BYTES),
    Message("Send fewer or shorter headers; delete this site's cookies if a browser sent them."),
)
NO_PLACE = build_refusal(
    HTTPStatus.SERVICE_UNAVAILABLE,
    "too_many_uploads",
    Message("Other uploads have all the threads that read long bodies."),
    Message("Send it again in a minute. WEB_THREADS sets how many there are."),
)
TOO_MANY_CONNECTIONS = build_refusal(
    HTTPStatus.SERVICE_UNAVAILABLE,
    "too_many_connections",
    Message("This address has as many connections open as it may."),
    Message("Close some of them, or try again in a moment. CONNECTIONS_PER_ADDRESS sets the limit."),
)
