"""How long a web request may work in the database: REQUEST_SECONDS, then 503 query_too_slow.

SQLite looks at the clock while it works, and counts the time of all statements of the request. PostgreSQL ends each
statement of a web process by itself. Streams, downloads and uploads are not cut: what is sent after the view has
answered is not counted, and a wait for the client's bytes is no work of the database.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from django.conf import settings
from django.db import connections

STEP_SECONDS = 0.25  # between two looks, at most, that count: a longer pause was spent outside of the database

request = threading.local()


@contextmanager
def limit_time(seconds: float) -> Iterator[None]:
    """Context in which all database statements of this thread's request share a time limit."""
    request.left, request.seen = seconds, time.monotonic()
    try:
        yield
    finally:
        request.left = None


def is_spent() -> bool:
    """SQLite's progress handler: True ends the statement with "interrupted"."""
    left = getattr(request, "left", None)
    if left is None:
        return False
    now = time.monotonic()
    request.left = left - min(now - request.seen, STEP_SECONDS)
    request.seen = now
    return bool(request.left < 0)


def limit_statements() -> None:
    """Set PostgreSQL's statement timeout; to be called in a web process before its first connection."""
    for alias in connections:
        if connections[alias].vendor == "postgresql":
            options = connections.settings[alias]["OPTIONS"]
            milliseconds = int(settings.REQUEST_SECONDS * 1000)
            options["options"] = f"{options.get('options', '')} -c statement_timeout={milliseconds}".strip()
