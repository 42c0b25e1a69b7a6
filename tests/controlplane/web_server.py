"""The worker of the web process in a thread of the test, with a small application in place of the plane."""

from __future__ import annotations

import os
import selectors
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

from gunicorn.config import Config
from gunicorn.glogging import Logger
from gunicorn.sock import TCPSocket

from controlplane.keepalive_worker import BoundedThreads
from controlplane.slow_clients import ClientLimits

Application = Callable[..., Any]


class Server:
    """A worker that runs; `connect` opens a connection to it."""

    def __init__(self, worker: BoundedThreads, address: tuple[str, int]) -> None:
        self.worker, self.address = worker, address

    def connect(self, data: bytes = b"", receive_buffer: int = 0) -> socket.socket:
        client = socket.socket()
        if receive_buffer:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        client.settimeout(60)
        client.connect(self.address)
        client.sendall(data)
        return client

    def ask(self, data: bytes) -> bytes:
        """Everything that the server sends until it closes, or for `Connection: close` requests the answer."""
        with self.connect(data) as client:
            return read_all(client)


def read_all(client: socket.socket) -> bytes:
    parts = []
    while part := client.recv(65536):
        parts.append(part)
    return b"".join(parts)


@contextmanager
def running_server(application: Application, *, threads: int = 4, **limits: Any) -> Iterator[Server]:
    cfg = Config()
    for name, value in {"threads": threads, "workers": 1, "keepalive": 5, "forwarded_allow_ips": ""}.items():
        cfg.set(name, value)
    listener = TCPSocket(("127.0.0.1", 0), cfg, Logger(cfg))
    worker = BoundedThreads(1, os.getppid(), [listener], SimpleNamespace(), 30, cfg, Logger(cfg))
    values = {"header_seconds": 60.0, "stall_seconds": 60.0, "min_rate": 1000, "per_address": 256, **limits}
    worker.limits = ClientLimits(**values)
    worker.tpool, worker.wsgi = worker.get_thread_pool(), application
    worker.poller = selectors.DefaultSelector()
    worker.method_queue.init()
    main_loop = threading.Thread(target=worker.run)
    main_loop.start()
    try:
        yield Server(worker, listener.getsockname())
    finally:
        worker.handle_exit(None, None)
        main_loop.join(60)
