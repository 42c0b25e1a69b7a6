"""Django's PostgreSQL backend, which checks a pooled connection only after it was idle for a while.

Django asks the server at every request whether the connection lives, which is a third of what a short call asks of
it. Here one that worked a second ago is taken on trust: a restart of the database costs those that were busy with it
one answer of 503, and those that rested nothing, as before.
"""

from __future__ import annotations

import time
from typing import Any

from django.db.backends.base.base import NO_DB_ALIAS
from django.db.backends.postgresql import base
from psycopg import Connection
from psycopg_pool import ConnectionPool

TRUSTED_SECONDS = 1.0


def check_rested(connection: Connection[Any]) -> None:
    """psycopg_pool's check, at most once in TRUSTED_SECONDS for each connection; raises when it is broken."""
    now = time.monotonic()
    if now - getattr(connection, "plane_checked_at", 0.0) >= TRUSTED_SECONDS:
        ConnectionPool.check_connection(connection)
        connection.plane_checked_at = now  # type: ignore[attr-defined]


class DatabaseWrapper(base.DatabaseWrapper):
    @property
    def pool(self) -> ConnectionPool[Any] | None:
        """The connection pool of this alias, created by Django, with `check_rested` as its check."""
        options = self.settings_dict["OPTIONS"].get("pool")
        if self.alias == NO_DB_ALIAS or not options:
            return None
        if self.alias not in self._connection_pools:
            pool = ConnectionPool(
                kwargs=self.get_connection_params() | {"autocommit": True},
                open=False,
                configure=self._configure_connection,
                check=check_rested,
                **options,
            )
            self._connection_pools.setdefault(self.alias, pool)  # two threads may make one: the first stays
        return self._connection_pools[self.alias]
