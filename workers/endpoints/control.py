"""Asks the control socket of a server: its status, swaps, shadows, access (deepseek/serve/admin.py)."""

from __future__ import annotations

import http.client
import json
import os
import socket
from pathlib import Path
from typing import Any

STATUS_SECONDS = 2.0
LOAD_SECONDS = 300.0  # a large model is loaded and measured before it takes over


class ControlRefused(Exception):
    """The server refused what it was asked to do; its message names why."""


class UnixConnection(http.client.HTTPConnection):
    """HTTP over a Unix socket, by its folder's descriptor: the path of a socket may have 107 bytes, a home more."""

    def __init__(self, path: Path, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self.path = path

    def connect(self) -> None:
        folder = os.open(self.path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            self.sock = socket.socket(socket.AF_UNIX)
            self.sock.settimeout(self.timeout)
            self.sock.connect(f"/proc/self/fd/{folder}/{self.path.name}")
        finally:
            os.close(folder)


def read_status(path: Path) -> dict[str, Any]:
    """The server's status. Raises OSError where it does not answer."""
    return call(path, "GET", "/admin/status", timeout=STATUS_SECONDS)


def swap(path: Path, name: str, folder: Path, version: int) -> None:
    """Let the version in `folder` take over. Raises ControlRefused, and then the old one goes on; OSError."""
    call(path, "PUT", f"/admin/models/{name}", {"folder": str(folder), "version": str(version)})


def start_shadow(path: Path, name: str, folder: Path, version: int, rate: float) -> None:
    """Let a candidate see the traffic. Raises ControlRefused, OSError."""
    body = {"folder": str(folder), "version": str(version), "rate": rate}
    call(path, "PUT", f"/admin/models/{name}/shadow", body)


def stop_shadow(path: Path, name: str) -> None:
    call(path, "DELETE", f"/admin/models/{name}/shadow")


def read_access_again(path: Path) -> None:
    """Let the server take what its files of tokens and certificate have now. Raises ControlRefused, OSError."""
    call(path, "POST", "/admin/access", timeout=STATUS_SECONDS)


def call(path: Path, method: str, address: str, body: Any = None, *, timeout: float = LOAD_SECONDS) -> dict[str, Any]:
    connection = UnixConnection(path, timeout)
    try:
        content = None if body is None else json.dumps(body).encode()
        connection.request(method, address, content, {"Content-Type": "application/json"})
        response = connection.getresponse()
        document = json.loads(response.read())
    except (http.client.HTTPException, ValueError) as failure:
        raise OSError(f"the control socket answered no JSON: {failure}") from failure
    finally:
        connection.close()
    if response.status >= 400:
        raise ControlRefused(describe_refusal(document))
    return dict(document)


def describe_refusal(document: Any) -> str:
    """Every error of a refusal, each with its field."""
    error = document.get("error", {}) if isinstance(document, dict) else {}
    errors = error.get("errors") or [error]
    return " ".join(f"{each.get('message', '')} ({each.get('field')})" for each in errors)[:1000]
