"""The plane does not start on a trail that could be edited."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, register
from django.db import connections
from django.db.migrations.recorder import MigrationRecorder

from apps.platform.audit.triggers import find_missing_triggers
from apps.platform.audit.verifier.verify import find_sm3


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


@register(Tags.security)
def check_sm3(**kwargs: Any) -> list[CheckMessage]:
    """audit.E002: records are to be sealed by SM3, which this machine has not, so that none would be sealed."""
    if not settings.ENV.audit_sm3 or find_sm3() is not None:
        return []
    return [
        Error(
            "AUDIT_SM3 is on, and neither OpenSSL nor the package cryptography has SM3 here.",
            hint="Turn AUDIT_SM3 off, or use an OpenSSL with SM3 (one in FIPS mode has none).",
            id="audit.E002",
        )
    ]


def list_missing_triggers() -> list[str]:
    """Why no process of the plane may start on this database, in sentences; none if it may.

    Django leaves checks of databases out unless asked, so each process that serves asks here.
    """
    return [f"{error.msg} {error.hint} ({error.id})" for error in check_audit_triggers(databases=["default"])]
