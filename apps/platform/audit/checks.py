"""The plane does not start on a trail that could be edited."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.core.checks import CheckMessage, Error, Tags, register
from django.db import connections
from django.db.migrations.recorder import MigrationRecorder

from apps.platform.audit.triggers import find_missing_triggers


@register(Tags.database)
def check_audit_triggers(databases: Sequence[str] | None = None, **kwargs: Any) -> list[CheckMessage]:
    """audit.E001: a trigger is absent, disabled or changed, although the migration that made it is applied."""
    if "default" not in (databases or ()):
        return []
    connection = connections["default"]
    if ("audit", "0002_triggers") not in MigrationRecorder(connection).applied_migrations():
        return []
    return [
        Error(
            f"The audit trail's trigger {name} is absent, disabled or changed: records could be edited.",
            hint="Find out who did it (manage.py verify_audit), then run manage.py restore_audit_triggers.",
            id="audit.E001",
        )
        for name in find_missing_triggers(connection)
    ]


def list_missing_triggers() -> list[str]:
    """Why no process of the plane may start on this database, in sentences; none if it may.

    Django leaves checks of databases out unless asked, so each process that serves asks here.
    """
    return [f"{error.msg} {error.hint} ({error.id})" for error in check_audit_triggers(databases=["default"])]
