"""Django's backend for SQLite, but that a web request's statements end when its time is spent, and writers queue."""

from __future__ import annotations

from typing import Any

from django.db.backends.sqlite3 import base

from controlplane import request_time
from controlplane.sqlite.write_queue import WriteQueue, get_write_queue

INSTRUCTIONS = 100_000  # of SQLite's machine between two looks at the clock: some milliseconds


class DatabaseWrapper(base.DatabaseWrapper):
    held_queue: WriteQueue | None = None  # whose turn this connection has

    def get_new_connection(self, conn_params: dict[str, Any]) -> Any:
        connection = super().get_new_connection(conn_params)
        connection.set_progress_handler(request_time.is_spent, INSTRUCTIONS)
        return connection

    def _start_transaction_under_autocommit(self) -> None:
        if self.held_queue is None and not self.is_in_memory_db():
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
