"""Files of a run between its nodes: the first node keeps them all, and the others fetch and hand in by name.

What a lost node has handed in is not lost with it. HTTP over TLS with certificates of both sides: without one that the
attempt's authority has signed, no request is read. Files are streamed, and become visible once they are complete.
"""

from __future__ import annotations

import errno
import http.client
import os
import re
import shutil
import ssl
import tempfile
import threading
from contextlib import suppress
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

from deepseek.partitions.nodes.membership import Credentials

CHUNK_BYTES = 1 << 20
TIMEOUT_SECONDS = 60.0
"""That a peer may be silent: of a transfer, not for the whole of it."""
MAX_NAME_CHARACTERS = 500
PART = re.compile(r"(?!\.\.?$)[^/\0]+")


class FileServer:
    """Gives the files of a folder, and takes new ones, until `close`. `port` was chosen by the system."""

    def __init__(self, folder: Path, host: str, credentials: Credentials) -> None:
        class Handler(FileHandler):
            root = folder

        self._server = _TlsServer((host, 0), Handler, credentials.build_context(ssl.Purpose.CLIENT_AUTH))
        self.address = (host, int(self._server.server_address[1]))
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


class _TlsServer(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, address: tuple[str, int], handler: type[BaseHTTPRequestHandler], context: ssl.SSLContext):
        super().__init__(address, handler)
        # The handshake is done by the thread of the connection: a silent peer keeps no other out.
        self.socket = context.wrap_socket(self.socket, server_side=True, do_handshake_on_connect=False)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A peer that is lost, or has no certificate, is no error of this side."""


class FileHandler(BaseHTTPRequestHandler):
    """GET and PUT of files below `root`."""

    root: Path
    protocol_version = "HTTP/1.1"
    timeout = TIMEOUT_SECONDS

    def do_GET(self) -> None:
        path = self._get_path()
        if path is not None and path.is_dir():
            self._answer(HTTPStatus.NO_CONTENT)
            return
        try:
            file = path.open("rb") if path is not None else None
        except OSError:
            file = None
        if file is None:
            self._answer(HTTPStatus.NOT_FOUND)
            return
        with file:
            self.send_response(HTTPStatus.OK)
            self.send_header("Content-Length", str(os.fstat(file.fileno()).st_size))
            self.end_headers()
            shutil.copyfileobj(file, self.wfile, CHUNK_BYTES)

    def do_PUT(self) -> None:
        path, size = self._get_path(), self.headers.get("Content-Length", "")
        if path is None or not size.isdecimal():
            self._answer(HTTPStatus.BAD_REQUEST)
            self.close_connection = True
            return
        try:
            is_complete = receive_file(self.rfile, int(size), path)
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            self._answer(HTTPStatus.INSUFFICIENT_STORAGE)
            return
        if is_complete:
            self._answer(HTTPStatus.CREATED)
        else:
            self.close_connection = True

    def _get_path(self) -> Path | None:
        """The file that the request names; None for a name that leads out of the folder."""
        name = unquote(self.path.removeprefix("/"))
        parts = name.split("/")
        if len(name) > MAX_NAME_CHARACTERS or not all(PART.fullmatch(part) for part in parts):
            return None
        return self.root.joinpath(*parts)

    def _answer(self, status: HTTPStatus) -> None:
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        """Requests are not worth a line each."""


def receive_file(source: Any, size: int, path: Path) -> bool:
    """Write `size` bytes of a stream under the name of `path`, at once; False, and no file, where fewer come.

    Where they cannot be written, the rest is read before the OSError is raised: a peer hears no answer while it sends.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=".incoming-")
    left = size
    try:
        with os.fdopen(handle, "wb", buffering=0) as file:
            while left and (data := source.read(min(left, CHUNK_BYTES))):
                left -= len(data)
                while data:
                    data = data[file.write(data) :]
        if not left:
            os.replace(name, path)
        return not left
    except OSError as error:
        while error.errno in (errno.ENOSPC, errno.EDQUOT) and left and (data := source.read(min(left, CHUNK_BYTES))):
            left -= len(data)
        raise
    finally:
        with suppress(FileNotFoundError):
            os.unlink(name)


@dataclass(frozen=True)
class FileClient:
    """Fetches files of the first node into `folder`, and hands in what was written there."""

    folder: Path
    address: tuple[str, int]
    credentials: Credentials

    def fetch(self, relative: str) -> Path:
        """The file or folder of this name, made here where it is not there yet. OSError where it cannot be had."""
        path = self.folder / relative
        if path.exists():
            return path
        connection = self._connect()
        try:
            connection.request("GET", f"/{quote(relative)}")
            answer = connection.getresponse()
            if answer.status == HTTPStatus.NO_CONTENT:
                path.mkdir(parents=True, exist_ok=True)
                return path
            if answer.status != HTTPStatus.OK:
                raise FileNotFoundError(f"the first node has no file {relative}")
            if not receive_file(answer, int(answer.headers["Content-Length"]), path):
                raise ConnectionError(f"the file {relative} ended before its last byte")
        finally:
            connection.close()
        return path

    def hand_in(self, relative: str) -> None:
        """Send the file of this name to the first node."""
        path = self.folder / relative
        connection = self._connect()
        try:
            with path.open("rb") as file:
                size = {"Content-Length": str(path.stat().st_size)}
                connection.request("PUT", f"/{quote(relative)}", body=file, headers=size)
                status = connection.getresponse().status
                if status == HTTPStatus.INSUFFICIENT_STORAGE:
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), f"{relative} on the first node")
                if status != HTTPStatus.CREATED:
                    raise ConnectionError(f"the first node did not take the file {relative}")
        finally:
            connection.close()

    def _connect(self) -> http.client.HTTPSConnection:
        context = self.credentials.build_context(ssl.Purpose.SERVER_AUTH)
        return http.client.HTTPSConnection(
            *self.address, context=context, timeout=TIMEOUT_SECONDS, blocksize=CHUNK_BYTES
        )
