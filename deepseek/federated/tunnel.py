"""Bytes between a loopback port and a socket of the machine: for an engine that has a loopback and nothing else.

A worker gives a site's engine a way out to its server or proxy (deepseek/connector.py), and a server's engine a socket
that listens. What goes through here is TLS already, from the process of the one side to that of the other.
"""

from __future__ import annotations

import os
import re
import select
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress

from deepseek.connector import VARIABLE, Connector, wait_until_connected

LISTENER = "ENGINE_LISTENER"
"""Number of the descriptor of a listening socket, in the environment of a server's engine."""
CHUNK_BYTES = 65_536
CONNECT_SECONDS = 20.0
MAX_CONNECTIONS = 256
MAX_HEAD_BYTES = 8192
STATUS_LINE = re.compile(rb"HTTP/1\.[01] ([1-5]\d\d[ -~]{0,80})")
Connect = Callable[[], socket.socket]


class WayOut:
    """A loopback port that leads to `server`; with `proxy` by HTTP CONNECT through that. Both are HOST:PORT.

    `failure`: why the last connection was not made; empty once one was. `refused_at`: since when the proxy has answered
    nothing but that it may not connect to the server (4xx), on the monotonic clock; that it cannot (5xx) is no refusal.
    """

    def __init__(self, server: str, proxy: str, connector: Connector | None) -> None:
        self.server, self.proxy, self.connector = server, proxy, connector
        self.failure = ""
        self.refused_at: float | None = None
        listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{listener.getsockname()[1]}"
        start(listener, self.connect)

    def connect(self) -> socket.socket:
        try:
            sock = self.open_socket(*split_address(self.proxy or self.server))
            if self.proxy:
                self.request_tunnel(sock)
        except OSError as failure:
            self.failure = str(failure)[:200]
            raise
        self.failure, self.refused_at = "", None
        return sock

    def open_socket(self, host: str, port: int) -> socket.socket:
        if self.connector is None:
            return socket.create_connection((host, port), CONNECT_SECONDS)
        addresses = self.connector.resolve(host, port)
        sock = socket.socket(socket.AF_INET6 if ":" in addresses[0] else socket.AF_INET, socket.SOCK_STREAM)
        sock.settimeout(CONNECT_SECONDS)
        self.connector.connect(sock, (addresses[0], port))
        if wait_until_connected(sock):
            sock.close()
            raise OSError(f"the connection to {host}:{port} was refused")
        sock.setblocking(True)
        return sock

    def request_tunnel(self, sock: socket.socket) -> None:
        """Ask the proxy to connect to the server. Raises OSError with its answer, the socket closed."""
        try:
            sock.settimeout(CONNECT_SECONDS)
            sock.sendall(f"CONNECT {self.server} HTTP/1.1\r\nHost: {self.server}\r\n\r\n".encode())
            status = read_proxy_status(sock)
            if not status.startswith("2"):
                self.refused_at = (self.refused_at or time.monotonic()) if status.startswith("4") else None
                raise OSError(f"the proxy answered {status}")
        except OSError:
            sock.close()
            raise


def read_proxy_status(sock: socket.socket) -> str:
    """Status and reason of the answer to CONNECT, read to the end of its head and no further. Raises OSError."""
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        data = sock.recv(1)  # what follows is TLS of the server
        head += data
        if not data or len(head) > MAX_HEAD_BYTES:
            raise OSError("the proxy does not answer in HTTP")
    match = STATUS_LINE.match(head)
    if match is None:
        raise OSError("the proxy does not answer in HTTP")
    return match[1].decode()


def open_way_out(server: str, *, proxy: str = "") -> WayOut | None:
    """The way to the server, where this process cannot connect to it by itself: it has no network, or needs a proxy."""
    number = os.environ.get(VARIABLE)
    if number is None and not proxy:
        return None
    return WayOut(server, proxy, None if number is None else Connector(int(number)))


def open_way_in(address: str) -> bool:
    """Lead who connects to the socket of the worker to the loopback `address`; False where there is no such socket."""
    number = os.environ.get(LISTENER)
    if number is None:
        return False
    start(socket.socket(fileno=int(number)), lambda: socket.create_connection(split_address(address), CONNECT_SECONDS))
    return True


def split_address(address: str) -> tuple[str, int]:
    host, _, port = address.rpartition(":")
    return host.strip("[]"), int(port)


def start(listener: socket.socket, connect: Connect) -> None:
    threading.Thread(target=accept, args=(listener, connect), name="tunnel", daemon=True).start()


def accept(listener: socket.socket, connect: Connect) -> None:
    places = threading.BoundedSemaphore(MAX_CONNECTIONS)
    while True:
        places.acquire()
        try:
            ours, _ = listener.accept()
        except OSError:
            return
        threading.Thread(target=carry, args=(ours, connect, places), name="tunnel", daemon=True).start()


def carry(ours: socket.socket, connect: Connect, places: threading.BoundedSemaphore) -> None:
    """Both ways, until either side ends."""
    try:
        with ours, suppress(OSError):
            theirs = connect()
            with theirs:
                theirs.settimeout(None)
                relay(ours, theirs)
    finally:
        places.release()


def relay(one: socket.socket, other: socket.socket) -> None:
    while True:
        readable, _, _ = select.select([one, other], [], [])
        for source in readable:
            data = source.recv(CHUNK_BYTES)
            if not data:
                return
            (other if source is one else one).sendall(data)
