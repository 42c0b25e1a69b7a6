"""Django's backend for SQLite, but that a web request's statements end when its time is spent, and writers queue."""

from __future__ import annotations

import sqlite3
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.db.backends.sqlite3 import base
from django.db.backends.sqlite3._functions import _sqlite_regexp

from controlplane import request_timeout
from controlplane.sqlite.write_queue import WriteQueue, get_write_queue

INSTRUCTIONS = 100_000  # of SQLite's machine between two looks at the clock: some milliseconds
WRITES = ("INSERT", "UPDATE", "DELETE", "REPLACE")
LONGEST_WRITE = max(map(len, WRITES))


class QueuedCursor(base.SQLiteCursorWrapper):
    """A write outside of a transaction is one of its own, and queues too: between those that do it would starve."""

    queue: WriteQueue

    def execute(self, query: str, params: Any = None) -> Any:
        if not self.is_own_transaction(query):
            return super().execute(query, params)
        with hold_place(self.queue):
            return super().execute(query, params)

    def executemany(self, query: str, param_list: Any) -> Any:
        if not self.is_own_transaction(query):
            return super().executemany(query, param_list)
        with hold_place(self.queue):
            return super().executemany(query, param_list)

    def is_own_transaction(self, query: str) -> bool:
        return query.lstrip()[:LONGEST_WRITE].upper().startswith(WRITES) and not self.connection.in_transaction


@contextmanager
def hold_place(queue: WriteQueue) -> Iterator[None]:
    is_queued = queue.enter()
    try:
        yield
    finally:
        if is_queued:
            queue.leave()


class Connection(sqlite3.Connection):
    """A sqlite3 connection that supports weak references."""


class DatabaseWrapper(base.DatabaseWrapper):
    held_queue: WriteQueue | None = None  # whose turn this connection has

    def get_new_connection(self, conn_params: dict[str, Any]) -> Any:
        connection = super().get_new_connection({**conn_params, "factory": Connection})
        weak_connection = weakref.ref(connection)  # it owns `match`: a cycle that nobody breaks keeps its file open
        connection.set_progress_handler(request_timeout.is_spent, INSTRUCTIONS)

        def match(pattern: str, text: str | None) -> Any:
            """Django's REGEXP: one call is one instruction, and may take as long as ten thousand others."""
            if request_timeout.is_spent():
                if (asking := weak_connection()) is not None:
                    asking.interrupt()
                return None
            return _sqlite_regexp(pattern, text)

        connection.create_function("REGEXP", 2, match, deterministic=True)
        return connection

    def create_cursor(self, name: str | None = None) -> Any:
        if self.is_in_memory_db():
            return super().create_cursor(name)
        cursor = self.connection.cursor(factory=QueuedCursor)
        cursor.queue = get_write_queue(str(self.settings_dict["NAME"]))
        return cursor

    def _start_transaction_under_autocommit(self) -> None:
        # None: it begins by reading (apps/core/db/deferred_transactions.py) and is in nobody's way.
        if self.transaction_mode is not None and self.held_queue is None and not self.is_in_memory_db():
            queue = get_write_queue(str(self.settings_dict["NAME"]))
            self.held_queue = queue if queue.enter() else None
        try:
            super()._start_transaction_under_autocommit()
        except BaseException:
            self.leave_queue()
            raise

    def _commit(self) -> None:
        try:
            super()._commit()
        finally:
            self.leave_queue()

    def _rollback(self) -> None:
        try:
            super()._rollback()
        finally:
            self.leave_queue()

    def _close(self) -> None:
        try:
            super()._close()
        finally:
            self.leave_queue()

    def leave_queue(self) -> None:
        if self.held_queue is not None:
            queue, self.held_queue = self.held_queue, None
            queue.leave()
