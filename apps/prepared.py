"""Statements that come by the thousand: PostgreSQL keeps their plans, for planning costs more than they do.

Elsewhere, and where somebody counts the statements, they go the ordinary way.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from django.db import DEFAULT_DB_ALIAS, connections


def fetch(sql: str, params: Sequence[Any]) -> list[tuple[Any, ...]]:
    """The rows of a SELECT."""
    return run(sql, params, rows=True)[0]


def execute(sql: str, params: Sequence[Any]) -> int:
    """How many rows a statement wrote."""
    return run(sql, params, rows=False)[1]


def run(sql: str, params: Sequence[Any], *, rows: bool) -> tuple[list[tuple[Any, ...]], int]:
    """Times among the parameters are aware ones."""
    here = connections[DEFAULT_DB_ALIAS]  # once: the usual name looks this up at every use of it
    if here.vendor != "postgresql" or here.queries_logged or here.execute_wrappers:
        stored = here.ops.adapt_datetimefield_value
        with here.cursor() as cursor:
            cursor.execute(sql, [stored(each) if isinstance(each, datetime) else each for each in params])
            return cursor.fetchall() if rows else [], cursor.rowcount
    from psycopg import Cursor

    here.ensure_connection()
    with here.wrap_database_errors, Cursor(here.connection) as cursor:
        cursor.execute(sql, params, prepare=True)
        return cursor.fetchall() if rows else [], cursor.rowcount
