"""A server on a loopback port: for an engine in a network where there is nothing else.

It is the plane for a script, the scheduler of a Dask cluster for partitions. Each connection becomes one to the server,
which the process beside the sandbox opens (deepseek/connector.py). To an https address the client speaks plain HTTP
here, and this side checks the server's certificate; the bytes to any other address are passed on as they are.
"""

import os
import select
import socket
import ssl
import threading
from contextlib import suppress
from urllib.parse import urlsplit

from deepseek.connector import VARIABLE, Connector

BACKLOG = 64
MAX_CONNECTIONS = 64
CHUNK = 1 << 16
CONNECT_SECONDS = 20.0


class LoopbackRelay:
    """Listens on a free port of 127.0.0.1 and forwards to the server. Ends with the process."""

    def __init__(self, url: str, connector: Connector | None) -> None:
        """`connector`: the way out of the sandbox; None: this process has a network of its own."""
        parts = urlsplit(url)
        self._host, self._is_tls = parts.hostname or "", parts.scheme == "https"
        self._port = parts.port or (443 if self._is_tls else 80)
        self._connector = connector
        self._places = threading.BoundedSemaphore(MAX_CONNECTIONS)
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=BACKLOG)
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def start(self) -> None:
        """Accept connections in a thread from now on."""
        threading.Thread(target=self._accept, name="loopback-relay", daemon=True).start()

    def _accept(self) -> None:
        while True:
            self._places.acquire()
            client, _ = self._listener.accept()
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with client, suppress(OSError, ssl.SSLError):
            try:
                with self._connect() as server:
                    forward(client, server)
            finally:
                self._places.release()

    def _connect(self) -> socket.socket:
        if self._connector is None:
            channel = socket.create_connection((self._host, self._port), CONNECT_SECONDS)
        else:
            channel = self._connect_outside(self._connector)
        channel.settimeout(CONNECT_SECONDS)
        channel.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return (
            ssl.create_default_context().wrap_socket(channel, server_hostname=self._host) if self._is_tls else channel
        )

    def _connect_outside(self, connector: Connector) -> socket.socket:
        """The server's first address that answers; raises OSError, of the last one where none does."""
        failure: OSError = ConnectionRefusedError("the server has no address")
        for address in connector.resolve(self._host, self._port):
            channel = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_STREAM)
            try:
                connector.connect(channel, (address, self._port))
                _, writable, _ = select.select([], [channel], [], CONNECT_SECONDS)
                error = channel.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
                if writable and not error:
                    channel.setblocking(True)
                    return channel
                failure = OSError(error, os.strerror(error)) if error else TimeoutError("the server does not answer")
            except OSError as refused:
                failure = refused
            channel.close()
        raise failure


def forward(client: socket.socket, server: socket.socket) -> None:
    """Copy both ways until both sides have ended; each end is passed on."""
    client.settimeout(None)
    server.settimeout(None)
    back = threading.Thread(target=copy_stream, args=(server, client), daemon=True)
    back.start()
    copy_stream(client, server)
    back.join()


def copy_stream(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while chunk := source.recv(CHUNK):
            target.sendall(chunk)
    with suppress(OSError):
        target.shutdown(socket.SHUT_WR)


def open_relay(url: str) -> LoopbackRelay:
    """Start a relay by the connector that this process was given, if it was."""
    descriptor = os.environ.pop(VARIABLE, "")
    relay = LoopbackRelay(url, Connector(int(descriptor)) if descriptor else None)
    relay.start()
    return relay
