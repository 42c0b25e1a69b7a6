"""Django's backend for SQLite, but for one thing: a web request's statements end when its time is spent."""

from __future__ import annotations

from typing import Any

from django.db.backends.sqlite3 import base

from controlplane import request_time

INSTRUCTIONS = 100_000  # of SQLite's machine between two looks at the clock: some milliseconds


class DatabaseWrapper(base.DatabaseWrapper):
    def get_new_connection(self, conn_params: dict[str, Any]) -> Any:
        connection = super().get_new_connection(conn_params)
        connection.set_progress_handler(request_time.is_spent, INSTRUCTIONS)
        return connection
