"""The server process around the application: uvicorn, its control socket, what it says, and how it ends."""

import asyncio
import contextlib
import logging
import os
import socket
import ssl
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import Executor
from pathlib import Path
from typing import Any

import uvicorn

from deepseek.job import EngineError
from deepseek.serve.deadlines import IDLE_SECONDS, BoundedProtocol, ConnectionDeadlines
from deepseek.serve.service import Service

THREAD_NAMES = ("predict", "load")
"""Of the executors of predictions and swaps, at their beginning."""
GRACE_SECONDS = 5
"""Requests that run when the service is told to stop may finish for so long; container engines wait for 10 seconds."""
ADMIN_GRACE_SECONDS = 1
"""The same for a swap, which would leave nothing behind."""
FIRST_REQUEST_SECONDS = 0.5
"""A connection that was just accepted may send its first request for so long, before it is ended too."""
THREAD_SECONDS = 0.5
"""Threads that have nothing to do end in so long."""


def build_config(app: Service, context: ssl.SSLContext | None = None) -> uvicorn.Config:
    """uvicorn, with what costs a request nothing it does not need; over TLS with a `context`."""
    config = uvicorn.Config(
        app,
        http=BoundedProtocol,
        log_config=None,
        log_level="warning",
        access_log=False,
        lifespan="off",
        ws="none",
        server_header=False,
        timeout_keep_alive=IDLE_SECONDS,
        timeout_graceful_shutdown=GRACE_SECONDS,
    )
    config.load()
    config.ssl = context
    return config


def load_certificate(certificate: Path, key: Path | None) -> ssl.SSLContext:
    """TLS 1.2 or later with a certificate. Raises EngineError ``certificate_invalid``."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(certificate, key, password=lambda: "")  # it would ask the terminal
    except (OSError, ValueError) as error:  # SSLError is an OSError
        why = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise EngineError(
            "certificate_invalid",
            f"The certificate cannot be used: {why}.",
            field="--certificate",
            value=f"{certificate}{f', {key}' if key else ''}",
            limit="PEM files of a certificate chain and its key, without a password",
            hint="Give the certificate with --certificate and its key with --key.",
        ) from error
    return context


class Server(uvicorn.Server):
    """The server of one process. `admin`: the application of the control socket, and its path."""

    def __init__(
        self, config: uvicorn.Config, app: Service, announcement: str, admin: tuple[Any, Path] | None = None
    ) -> None:
        super().__init__(config)
        self._app, self._announcement = app, announcement
        self._admin: _AdminServer | None = None
        if admin is not None:
            options: dict[str, Any] = {"log_config": None, "log_level": "warning", "lifespan": "off", "ws": "none"}
            options["timeout_graceful_shutdown"] = ADMIN_GRACE_SECONDS
            self._admin = _AdminServer(uvicorn.Config(admin[0], uds=str(admin[1]), **options))
        self._tasks: list[asyncio.Task[None]] = []
        app.requests, app.connections = self.server_state.tasks, self.server_state.connections
        self.deadlines = ConnectionDeadlines(
            self.server_state.connections, app.limits.body_seconds, app.find_body_limit
        )
        app.count_ended = lambda: self.deadlines.ended
        logging.getLogger("uvicorn.error").addFilter(_is_no_cancellation)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Say where it is once it listens to signals too: one may come as soon as somebody has read it."""
        await super().startup(sockets)
        if self._admin is not None:
            await self._admin.begin()
            self._tasks.append(asyncio.create_task(self._admin.main_loop()))
        self._tasks.append(asyncio.create_task(self.deadlines.run()))
        print(self._announcement, flush=True)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Take no more requests, and finish those that run."""
        self._app.stopping = True
        await self._await_first_requests()
        running = len(self.server_state.tasks)
        if running:
            print(f"deepseek: stopping, {running} running requests may finish", file=sys.stderr, flush=True)
        await super().shutdown(sockets)
        for task in self._tasks:
            task.cancel()
        if self._admin is not None:
            await self._admin.shutdown()
        for served in self._app.repository:
            served.set_shadow(None)
        if self._app.recorder is not None:
            await asyncio.to_thread(self._app.recorder.close)

    async def _await_first_requests(self) -> None:
        """Accept no more connections, and wait a moment for the requests of those that were just accepted.

        Where two services share a listening socket, a connection that this one ends before it has read anything is a
        failed request, which the other one would have answered.
        """
        for server in self.servers:
            server.close()
        end = time.monotonic() + FIRST_REQUEST_SECONDS
        await asyncio.sleep(0)  # what was accepted becomes a connection
        while time.monotonic() < end and any(
            getattr(each, "cycle", None) is None for each in list(self.server_state.connections)
        ):
            await asyncio.sleep(0.01)


def end_threads(executors: Iterable[Executor], code: int) -> None:
    """Drop what waits in the executors; where a call still runs, end the process with `code`.

    The interpreter would wait for the call, and nobody for its answer.
    """
    before = set(threading.enumerate())
    for executor in executors:
        executor.shutdown(wait=False, cancel_futures=True)
    end = time.monotonic() + THREAD_SECONDS
    for thread in before:
        if thread.name.startswith(THREAD_NAMES):
            thread.join(max(0.0, end - time.monotonic()))
            if thread.is_alive():
                sys.stdout.flush()
                sys.stderr.flush()
                os._exit(code)


class _AdminServer(uvicorn.Server):
    """The server of the control socket, in the same event loop. Signals are the other one's."""

    async def begin(self) -> None:
        """Listen. The socket is its owner's alone."""
        self.config.load()
        self.lifespan = self.config.lifespan_class(self.config)
        path = Path(str(self.config.uds))
        path.unlink(missing_ok=True)  # of a process that was killed
        before = os.umask(0o177)
        try:
            listener = socket.socket(socket.AF_UNIX)
            listener.bind(str(path))
        finally:
            os.umask(before)
        self._path = path
        await self.startup([listener])

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._path.unlink(missing_ok=True)
        await super().shutdown(sockets)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def _is_no_cancellation(record: logging.LogRecord) -> bool:
    """uvicorn logs a trace of each request that it ends at a stop, after a line that says how many it ends."""
    return not (record.exc_info and isinstance(record.exc_info[1], asyncio.CancelledError))
