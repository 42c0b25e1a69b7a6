"""Bytes between a loopback port and a socket of the machine: for an engine that has a loopback and nothing else.

A worker gives a site's engine a way out to its server (deepseek/connector.py), and a server's engine a socket that
listens. What goes through here is TLS already, from the process of the one side to that of the other.
"""

from __future__ import annotations

import os
import select
import socket
import threading
from collections.abc import Callable
from contextlib import suppress

from deepseek.connector import VARIABLE, Connector, wait_until_connected

LISTENER = "ENGINE_LISTENER"
"""Number of the descriptor of a listening socket, in the environment of a server's engine."""
CHUNK_BYTES = 65_536
CONNECT_SECONDS = 20.0
MAX_CONNECTIONS = 256
Connect = Callable[[], socket.socket]


def open_way_out(target: str) -> str | None:
    """A loopback address that leads to `target`, HOST:PORT; None where this process has a network of its own."""
    number = os.environ.get(VARIABLE)
    if number is None:
        return None
    connector = Connector(int(number))
    host, port = split_address(target)
    listener = socket.create_server(("127.0.0.1", 0))

    def connect() -> socket.socket:
        addresses = connector.resolve(host, port)
        sock = socket.socket(socket.AF_INET6 if ":" in addresses[0] else socket.AF_INET, socket.SOCK_STREAM)
        sock.settimeout(CONNECT_SECONDS)
        connector.connect(sock, (addresses[0], port))
        if wait_until_connected(sock):
            sock.close()
            raise OSError("the connection was refused")
        sock.setblocking(True)
        return sock

    start(listener, connect)
    return f"127.0.0.1:{listener.getsockname()[1]}"


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
