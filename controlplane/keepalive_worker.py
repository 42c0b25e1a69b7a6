"""gunicorn's threaded worker with deadlines for slow clients, and with threads that wait for the next request.

gthread lets a thread read the headers and the body of a request as they come, without a limit: some 130 clients that
send half a request hold all threads. Here the main loop collects each request until a thread can answer it. Whatever
a thread still waits for (large bodies, answers that are not read) is bounded by ClientSocket, and ended when others
need the thread (docs/adr/0024-slow-clients.md).

gthread also returns a kept connection to its main loop, which hands the next request to some thread: a pipe, a queue,
five system calls and two thread switches, for a training loop that calls again within a millisecond. Here the thread
that answered polls for that moment itself: 11 to 16 % less time for a call (benchmarks/RESULTS.md).

This is the only module that uses undocumented parts of gunicorn, all of them listed here. When an upgrade changes one,
tests/controlplane/test_gunicorn_parts.py fails: compare the new code with the row of the table, then note its digest.

| part of gunicorn | used for | without it |
| --- | --- | --- |
| *ThreadWorker, overridden* | | |
| `__init__` | the limits on clients, from the environment | no limits |
| `init_process` | raise the limit on open files | 1,024 connections at most |
| `check_config` | refuse TLS, HTTP/2 and the PROXY protocol | `RequestBuffer` finds no end of their headers |
| `accept` | wrap the socket, count by address, collect the request | half requests hold every thread |
| `finish_request` | collect the next request; close without waiting | the same on kept connections |
| `wait_for_and_dispatch_events` | check deadlines after each turn | no deadlines in the main loop |
| `_cap_keepalive` | end idle connections 2 s after a stop | a stop takes `graceful_timeout`, 3 s |
| `murder_keepalived` | close what waits when the worker ends | clients wait until the process is gone |
| `handle` | keep the thread for the next request; 408 for slow bodies | 11 to 16 % more time for a call |
| `_keepalive_after` | drain a body that no view read for 1 s, not 5 | threads are held for longer |
| *ThreadWorker, called or read* | | |
| `run` | calls what is overridden, in this order | nothing |
| `enqueue_req` | `handle` in a thread, then `finish_request` in the main loop | no answer |
| `alive`, `cfg`, `log`, `poller`, `tpool` | as in gthread | no answer |
| `nr_conns`, `worker_connections` | bound the open connections | `accept` fails when files run out |
| `tpool._work_queue` (of concurrent.futures) | count requests that wait for a thread | slow clients are never evicted |
| *elsewhere* | | |
| `TConn` | ClientConnection has the attributes of it that `handle` reads | no answer |
| `http.get_parser`, `Parser.finish_body` | one parser for each connection; drain a body | no answer |
| `Unreader.unread`, `.take_buffered`, `.buf` | give the parser what was collected; take its read-ahead | lost bytes |
| `wsgi.create`, `Response.sendfile`, `util.write` | call `send`, `sendfile` and `sendall` of ClientSocket | no limits |
| `Arbiter.APP_LOAD_ERROR` | the exit code that makes the arbiter stop | workers that restart for ever |
| `Worker.init_process` | SIGTERM is handled before `post_worker_init` wraps that | a stop waits for event streams |
"""

from __future__ import annotations

import errno
import resource
import select
import selectors
import socket
import sys
import time
from collections import Counter
from concurrent.futures import Future
from contextlib import suppress
from functools import partial
from typing import Any, NoReturn

from gunicorn import http
from gunicorn.arbiter import Arbiter
from gunicorn.workers.gthread import ThreadWorker

from controlplane.env import load_env
from controlplane.slow_clients import (
    HEAD_TOO_LARGE,
    NO_PLACE,
    TOO_MANY_CONNECTIONS,
    TOO_SLOW,
    ClientLimits,
    ClientSocket,
    RequestBuffer,
    count_unread_bytes,
    group_address,
    is_in_networks,
)

STAY_MS = 10  # a thread that waits costs nothing, but others may need it
READ_BYTES = 64 * 1024
DRAIN_SECONDS = 1.0  # for what is left of a body that the answer did not need
STOP_KEEPALIVE_SECONDS = 2.0  # for an idle connection of a worker that stops, as gthread
LINGER_SECONDS = 2.0  # after the last answer, for the client to read it and close (RFC 9112 section 9.6)
MAX_LINGER_BYTES = 64 * 1024
CHECK_SECONDS = 0.25
CROWDED_MIN_RATE = 64 * 1024  # bytes/s that keep a thread while requests wait for one
EVICT_AFTER_SECONDS = 1.0
PLACE_SECONDS = 60.0  # that a long body waits for a thread
LOG_SECONDS = 10.0
SPARE_FILES = 512  # descriptors for everything but clients: databases, artifacts, pipes
WANTED_FILES = 65_536


class ClientConnection:
    """A client's connection: in the main loop (`waiting`), in a thread, or in the queue of long bodies.

    It takes the place of gthread's TConn; up to `is_http2` the attributes are those that gthread's `handle` reads.
    """

    def __init__(self, cfg: Any, sock: ClientSocket, client: Any, server: Any, address: str | None) -> None:
        self.sock, self.client, self.server = sock, client, server
        self.parser = http.get_parser(cfg, sock, client)
        self.initialized = True  # its first bytes have arrived: `handle` does not wait for them
        self.is_http2 = False
        self.address = address  # what it is counted by; None: not counted
        self.buffer = RequestBuffer()
        self.deadline = 0.0
        self.window_bytes = 0  # received when the current window of the body began
        self.lingering_bytes: int | None = None  # read since the last answer; None: not closing
        self.is_new = True  # no request so far

    def init(self) -> None:
        """Called by `handle`; there is no TLS to begin."""

    def close(self) -> None:
        with suppress(OSError):
            self.sock.close()


def has_gone(conn: ClientConnection) -> bool:
    """Whether the client closed before its whole body was sent; one that only sends no more may wait for the answer."""
    poll = select.poll()
    poll.register(conn.sock, select.POLLRDHUP)
    events = poll.poll(0)
    if not events:
        return False
    if events[0][1] & (select.POLLHUP | select.POLLERR):
        return True
    arrived = len(conn.buffer.data) - conn.buffer.head_bytes + count_unread_bytes(conn.sock)
    return arrived < conn.buffer.announced_bytes


class BoundedThreads(ThreadWorker):  # type: ignore[misc]
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        env = load_env()
        self.limits = ClientLimits(
            header_seconds=env.client_header_seconds,
            stall_seconds=env.client_stall_seconds,
            min_rate=env.client_min_rate,
            per_address=env.connections_per_address,
        )
        self.body_places = max(self.cfg.threads // 2, 1)
        self.patient_threads = self.cfg.threads // 4  # so many may wait for slow clients whatever else waits
        self.waiting: dict[ClientConnection, None] = {}  # in the order in which they began to wait
        self.queued_bodies: list[ClientConnection] = []
        self.places_taken = 0
        self.waits: set[ClientSocket] = set()  # sockets that a thread waits for
        self.addresses: Counter[str] = Counter()
        self.closed: Counter[tuple[str, str]] = Counter()  # (reason, address), since the last line in the log
        self.next_check = self.next_log = 0.0

    @classmethod
    def check_config(cls, cfg: Any, log: Any) -> None:
        if cfg.is_ssl or cfg.proxy_protocol != "off" or cfg.http2_cleartext != "off":
            raise RuntimeError(
                "The web server speaks plain HTTP/1.1; TLS and HTTP/2 are the proxy's (docs/install.md)."
            )
        super().check_config(cfg, log)

    def init_process(self) -> None:
        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        files = WANTED_FILES if hard == resource.RLIM_INFINITY else min(hard, WANTED_FILES)
        resource.setrlimit(resource.RLIMIT_NOFILE, (files, hard))
        self.worker_connections = max(min(self.worker_connections, files - SPARE_FILES), self.cfg.threads + 1)
        super().init_process()

    def halt_server(self, reason: str) -> NoReturn:
        """End this process so that the arbiter stops with it, and does not start another worker."""
        self.log.critical("%s", reason)
        sys.exit(Arbiter.APP_LOAD_ERROR)

    # -- connections in the main loop -------------------------------------------------------------------------------
    def accept(self, listener: Any) -> None:
        try:
            accepted, client = listener.accept()
        except OSError as failure:
            if failure.errno in (errno.EMFILE, errno.ENFILE):
                if not self.drop_one_waiting():
                    time.sleep(0.01)  # the listener stays readable
                return
            if failure.errno in (errno.EAGAIN, errno.ECONNABORTED, errno.EWOULDBLOCK):
                return
            raise
        address = self.get_counted_address(client)
        conn = ClientConnection(
            self.cfg, ClientSocket(accepted, self.limits, self.waits), client, listener.getsockname(), address
        )
        conn.deadline = time.monotonic() + self.limits.header_seconds
        self.nr_conns += 1
        if address is not None:
            self.addresses[address] += 1
            if self.addresses[address] > self.limits.per_address and not self.drop_one_waiting(address):
                self.refuse(conn, TOO_MANY_CONNECTIONS, "too many connections")
                return
        if self.nr_conns >= self.worker_connections:
            self.drop_one_waiting()
        self.read_request(conn)

    def get_counted_address(self, client: Any) -> str | None:
        """What this client's connections are counted by; None for the proxy, behind which many people are."""
        if not isinstance(client, tuple):
            return None
        if is_in_networks(client[0], tuple(self.cfg.forwarded_allow_ips)):
            return None
        return group_address(client[0])

    def drop_one_waiting(self, address: str | None = None) -> bool:
        """Close the connection that can best be spared, of this address if one is given; False if none can."""
        now = time.monotonic()
        candidates = [conn for conn in self.waiting if address is None or conn.address == address]
        ranked = [(rank, conn) for conn in candidates if (rank := self.rank_to_spare(conn, now)) is not None]
        if not ranked:
            return False
        victim = min(ranked, key=lambda pair: pair[0])[1]  # of equals the one that waits longest
        self.note_closed(victim, "too many connections")
        self.drop(victim)
        return True

    def rank_to_spare(self, conn: ClientConnection, now: float) -> int | None:
        """Answered or idle connections go first, then unfinished headers, then slow bodies; None: a body in time."""
        if conn.lingering_bytes is not None or not conn.buffer.data:
            return 0
        if not conn.buffer.head_bytes:
            return 1
        seconds = now - (conn.deadline - self.limits.stall_seconds) - EVICT_AFTER_SECONDS
        return 2 if conn.sock.received - conn.window_bytes < self.limits.min_rate * seconds else None

    def watch(self, conn: ClientConnection) -> None:
        if conn not in self.waiting:
            self.waiting[conn] = None
            self.poller.register(conn.sock, selectors.EVENT_READ, partial(self.on_readable, conn))

    def unwatch(self, conn: ClientConnection) -> None:
        if conn in self.waiting:
            del self.waiting[conn]
            self.poller.unregister(conn.sock)

    def drop(self, conn: ClientConnection) -> None:
        """Close at once."""
        self.unwatch(conn)
        self.nr_conns -= 1
        if conn.address is not None:
            self.addresses[conn.address] -= 1
            if not self.addresses[conn.address]:
                del self.addresses[conn.address]
        conn.close()

    def on_readable(self, conn: ClientConnection, client: Any) -> None:
        if conn in self.waiting:  # not dropped by an earlier event of the same turn
            if conn.lingering_bytes is None:
                self.read_request(conn)
            else:
                self.linger(conn)

    def read_request(self, conn: ClientConnection) -> None:
        """Take what has arrived; hand the request over once a thread can go on with it, or wait for more."""
        try:
            data = conn.sock.recv_now(READ_BYTES)
        except BlockingIOError:
            self.watch(conn)
            return
        except OSError:
            self.drop(conn)
            return
        if data:
            self.add_to_request(conn, data)
        else:
            self.drop(conn)  # in the middle of a request or between two

    def add_to_request(self, conn: ClientConnection, data: bytes) -> None:
        buffer, now = conn.buffer, time.monotonic()
        if not buffer.data and not conn.is_new:  # the first bytes on a kept connection
            conn.deadline = now + self.limits.header_seconds
        had_head = bool(buffer.head_bytes)
        buffer.add(data)
        if buffer.is_ready or (buffer.has_more and self.places_taken < self.body_places // 2):
            self.dispatch(conn)  # a long body at once while places abound: its view may refuse it by its headers
        elif buffer.is_too_large:
            self.refuse(conn, HEAD_TOO_LARGE, "headers too large")
        else:
            if buffer.head_bytes and not had_head:
                conn.deadline, conn.window_bytes = now + self.limits.stall_seconds, conn.sock.received
            self.watch(conn)

    def dispatch(self, conn: ClientConnection) -> None:
        """Give the request to a thread, or to the queue where enough threads read long bodies already."""
        self.unwatch(conn)
        if conn.buffer.has_more:
            if self.places_taken >= self.body_places:
                conn.deadline = time.monotonic() + PLACE_SECONDS
                self.queued_bodies.append(conn)
                return
            self.places_taken += 1
            conn.sock.has_place = True
        conn.parser.unreader.unread(bytes(conn.buffer.data))
        conn.buffer = RequestBuffer()
        conn.is_new = False
        self.enqueue_req(conn)

    def dispatch_queued_body(self) -> None:
        """Take the request of whose body most has arrived: a slow one can wait."""
        conn = max(self.queued_bodies, key=lambda queued: count_unread_bytes(queued.sock))
        self.queued_bodies.remove(conn)
        self.dispatch(conn)

    def finish_request(self, conn: ClientConnection, fs: Future[Any]) -> None:
        """In the main loop, after a thread: wait for the next request, or close."""
        if conn.sock.has_place:
            conn.sock.has_place = False
            self.places_taken -= 1
            if self.queued_bodies:
                self.dispatch_queued_body()
        if conn.sock.is_expired:
            if conn.sock.expired_event == select.POLLOUT:
                self.note_closed(conn, "answer not read")
                self.drop(conn)
                return
            self.note_closed(conn, "slow body")
        if fs.cancelled() or fs.exception():
            self.drop(conn)
            return
        result = fs.result()
        conn.sock.setblocking(False)
        if not result:
            self.close_gently(conn)
            return
        # A stopping worker keeps the connection briefly too: the answer said keep-alive, the next request may be on
        # its way.
        conn.deadline = time.monotonic() + (self.cfg.keepalive if self.alive else STOP_KEEPALIVE_SECONDS)
        ahead = conn.parser.unreader.take_buffered()
        if ahead:  # of the next request: these bytes no longer make the socket readable
            self.add_to_request(conn, ahead)
        else:
            self.watch(conn)

    def refuse(self, conn: ClientConnection, answer: bytes, reason: str) -> None:
        self.note_closed(conn, reason)
        conn.sock.send_now(answer)
        self.close_gently(conn)

    def close_gently(self, conn: ClientConnection) -> None:
        """Close, but let the client read the last answer first: unread input would make the kernel reset it."""
        try:
            conn.sock.shutdown(socket.SHUT_WR)
        except OSError:
            self.drop(conn)
            return
        conn.lingering_bytes = 0
        conn.deadline = time.monotonic() + LINGER_SECONDS
        self.linger(conn)

    def linger(self, conn: ClientConnection) -> None:
        try:
            data = conn.sock.recv_now(READ_BYTES)
        except BlockingIOError:
            self.watch(conn)
            return
        except OSError:
            data = b""
        conn.lingering_bytes = (conn.lingering_bytes or 0) + len(data)
        if data and conn.lingering_bytes < MAX_LINGER_BYTES:
            self.watch(conn)
        else:
            self.drop(conn)

    # -- limits -----------------------------------------------------------------------------------------------------
    def wait_for_and_dispatch_events(self, timeout: float) -> None:
        super().wait_for_and_dispatch_events(CHECK_SECONDS if self.count_queued() or not self.alive else timeout)
        self.enforce_limits()

    def count_queued(self) -> int:
        """Requests that wait for a thread, or for a place among the long bodies."""
        return int(self.tpool._work_queue.qsize()) + len(self.queued_bodies)

    def enforce_limits(self) -> None:
        now = time.monotonic()
        if now < self.next_check:
            return
        self.next_check = now + CHECK_SECONDS
        self.end_overdue(now)
        self.end_queued(now)
        self.evict_slow(now)
        if self.closed and now >= self.next_log:
            self.next_log = now + LOG_SECONDS
            self.log_closed()

    def murder_keepalived(self, force: bool = False) -> None:
        """Called after each turn, and with `force` when the worker ends."""
        for conn in list(self.waiting) if force else ():
            self.drop(conn)

    def end_overdue(self, now: float) -> None:
        """Close the connections whose request, or whose end, did not come in time."""
        for conn in [conn for conn in self.waiting if now >= conn.deadline]:
            if conn.lingering_bytes is not None or not conn.buffer.data or not self.alive:
                self.drop(conn)
            elif not conn.buffer.head_bytes:
                self.refuse(conn, TOO_SLOW, "slow headers")
            elif conn.sock.received - conn.window_bytes < self.limits.bytes_per_window:
                self.refuse(conn, TOO_SLOW, "slow body")
            else:
                conn.deadline, conn.window_bytes = now + self.limits.stall_seconds, conn.sock.received

    def end_queued(self, now: float) -> None:
        """Take from the queue of long bodies those whose client has gone, and those that waited for too long."""
        for conn in list(self.queued_bodies):
            if has_gone(conn):
                self.queued_bodies.remove(conn)
                self.drop(conn)
            elif now >= conn.deadline:
                self.queued_bodies.remove(conn)
                self.refuse(conn, NO_PLACE, "no place for a body")

    def evict_slow(self, now: float) -> None:
        """End the slowest waits of threads for their clients, as many as requests wait for a thread."""
        count = min(self.count_queued(), len(self.waits) - self.patient_threads)
        if count <= 0:
            return
        slow = []
        for sock in list(self.waits):
            if not (self.tpool._work_queue.qsize() or sock.has_place):
                continue  # only places are short, and this one has none
            if sock.waited(now) >= EVICT_AFTER_SECONDS and (rate := sock.rate(now)) < CROWDED_MIN_RATE:
                slow.append((rate, id(sock), sock))
        for _, _, sock in sorted(slow)[:count]:
            sock.evict()

    def _cap_keepalive(self, deadline: float) -> None:
        """Called when the worker begins to stop."""
        for conn in self.waiting:
            conn.deadline = min(conn.deadline, deadline)

    def note_closed(self, conn: ClientConnection, reason: str) -> None:
        self.closed[reason, str(conn.client[0] if isinstance(conn.client, tuple) else "proxy")] += 1

    def log_closed(self) -> None:
        """One line for all that were closed since the last one: an attack must not fill the log."""
        reasons: Counter[str] = Counter()
        addresses: Counter[str] = Counter()
        for (reason, address), count in self.closed.items():
            reasons[reason] += count
            addresses[address] += count
        self.closed.clear()
        parts = [", ".join(f"{name} {count}" for name, count in c.most_common(5)) for c in (reasons, addresses)]
        self.log.warning("Closed slow or surplus connections: %s; from %s", *parts)

    # -- in a thread ------------------------------------------------------------------------------------------------
    def handle(self, conn: ClientConnection) -> Any:
        result = self.answer(conn)
        while result is True and self.alive and self.has_next_request(conn):
            result = self.answer(conn)
        return result

    def answer(self, conn: ClientConnection) -> Any:
        conn.sock.begin_request()
        result = super().handle(conn)
        if conn.sock.is_expired and not conn.sock.has_answered:
            conn.sock.send_now(TOO_SLOW)
        return result

    def _keepalive_after(self, conn: ClientConnection, keepalive: bool) -> bool:
        """gthread's, which waits longer for the rest of a body that the answer did not need."""
        return keepalive and bool(conn.parser.finish_body(deadline=time.monotonic() + DRAIN_SECONDS))

    def has_next_request(self, conn: ClientConnection) -> bool:
        """Whether the next request is there, or comes while this thread has nothing else to do.

        Where requests wait for a thread, it goes to them: a loop must not hold it. A part of a request is for the
        main loop, which takes what lies in the parser's buffer.
        """
        unreader = conn.parser.unreader
        if not self.tpool._work_queue.empty() or unreader.buf.getvalue():
            return False
        poll = select.poll()
        poll.register(conn.sock, select.POLLIN)
        if not poll.poll(STAY_MS):
            return False
        try:
            data = conn.sock.recv_now(READ_BYTES)
        except OSError:
            return False
        unreader.unread(data)
        buffer = RequestBuffer()
        buffer.add(data)
        return buffer.is_ready and not buffer.has_more
