"""Checks of a process before it serves."""

from __future__ import annotations

from django.core.management.base import CommandError
from django.db import DatabaseError, connection

from apps.platform.audit.checks import list_missing_triggers


def refuse_unsound() -> None:
    """CommandError on a database that is away, which whoever supervises tries again, or whose trail lies open."""
    try:
        faults = list_missing_triggers()
    except DatabaseError as failure:
        raise CommandError(f"The database cannot be used: {failure}") from None
    finally:
        connection.close()
    if faults:
        raise CommandError("\n".join(faults))
