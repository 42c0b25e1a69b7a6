"""Ports for servers that bind them later than the test chooses them."""

from __future__ import annotations

import secrets
import socket
from contextlib import suppress

FIRST, LAST = 10_000, 28_999


def find_free_port() -> int:
    """A port below those that connections get: until its server binds it, or while that is away, none may take it.

    A client that asks again and again for a port of theirs where nobody listens even connects to itself. By a chance of
    its own: the module random begins in each process of a parallel run, and in each test, with the same seed.
    """
    while True:
        port = FIRST + secrets.randbelow(LAST - FIRST)
        with suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port
