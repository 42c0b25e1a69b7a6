"""`transaction=True` tests flush the database, which the audit triggers refuse: lift them around a flush.

A flush also takes the head of the chain, which a migration made; it is planted again.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from django.db.backends.base.operations import BaseDatabaseOperations

from apps.platform.audit.triggers import disable_triggers, plant_genesis


@pytest.fixture(scope="session", autouse=True)
def audit_flush() -> Iterator[None]:
    """Wraps `execute_sql_flush` on the class: threads and reconnects make new connections, never a new class."""
    original = BaseDatabaseOperations.execute_sql_flush

    def flush(self: BaseDatabaseOperations, sql_list: list[str]) -> None:
        with disable_triggers(self.connection):
            original(self, sql_list)
        plant_genesis(self.connection)

    BaseDatabaseOperations.execute_sql_flush = flush  # type: ignore[method-assign]
    yield
    BaseDatabaseOperations.execute_sql_flush = original  # type: ignore[method-assign]
