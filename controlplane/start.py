"""What must hold before the plane starts: else it says why, in a sentence, and does not."""

from __future__ import annotations

from django.core.management import call_command
from django.db import DatabaseError, connection
from django.db.migrations.executor import MigrationExecutor

from apps.audit.checks import unsound


class CannotStart(Exception):
    """Why the plane does not come up, in a sentence for the terminal."""


def ready_database(*, migrate: bool) -> None:
    """Bring the tables up to date, or see that they are, and that nobody has opened the audit trail."""
    try:
        if migrate:
            call_command("migrate", interactive=False, verbosity=0)
        elif lacking := pending():
            raise CannotStart(
                f"The database lacks {len(lacking)} migrations, {lacking[0]} first: run manage.py migrate."
            )
        if faults := unsound():
            raise CannotStart("\n".join(faults))
    except DatabaseError as failure:
        told = str(failure).strip().partition("\n")[0] or type(failure).__name__
        raise CannotStart(f"The database cannot be used: {told}. Look at it, or at DATABASE_URL.") from None


def pending() -> list[str]:
    executor = MigrationExecutor(connection)
    plan = executor.migration_plan(executor.loader.graph.leaf_nodes())
    return [f"{migration.app_label}.{migration.name}" for migration, _ in plan]
