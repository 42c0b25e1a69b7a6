"""Transactions on SQLite that take the write lock at their first write."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.db import DEFAULT_DB_ALIAS, connections


@contextmanager
def defer_write_lock(using: str = DEFAULT_DB_ALIAS) -> Iterator[None]:
    """Begin transactions without SQLite's write lock; other databases lock no more than rows anyway.

    For work that reads. A write after a read fails at once ("database is locked") where another connection has written
    meanwhile: the caller has to begin again with the lock.
    """
    connection: Any = connections[using]
    if connection.vendor != "sqlite":
        yield
        return
    connection.ensure_connection()  # which sets the mode
    mode = connection.transaction_mode
    connection.transaction_mode = None
    try:
        yield
    finally:
        connection.transaction_mode = mode
