"""Statements that come by the thousand: PostgreSQL keeps their plans, for planning costs more than they do.

Elsewhere, and where somebody counts the statements, they go the ordinary way.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.db import connection


def fetch(sql: str, params: Sequence[Any]) -> list[tuple[Any, ...]]:
    """The rows of a SELECT."""
    return run(sql, params, rows=True)[0]


def execute(sql: str, params: Sequence[Any]) -> int:
    """How many rows a statement wrote."""
    return run(sql, params, rows=False)[1]


def run(sql: str, params: Sequence[Any], *, rows: bool) -> tuple[list[tuple[Any, ...]], int]:
    if connection.vendor != "postgresql" or connection.queries_logged or connection.execute_wrappers:
        with connection.cursor() as cursor:
            cursor.execute(sql, params)
            return cursor.fetchall() if rows else [], cursor.rowcount
    from psycopg import Cursor

    connection.ensure_connection()
    with connection.wrap_database_errors, Cursor(connection.connection) as cursor:
        cursor.execute(sql, params, prepare=True)
        return cursor.fetchall() if rows else [], cursor.rowcount
