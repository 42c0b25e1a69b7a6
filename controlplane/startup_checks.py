"""Checks before the plane starts; a failed one stops the start with a one-sentence reason."""

from __future__ import annotations

from django.core.management import call_command
from django.db import DatabaseError, connection
from django.db.migrations.executor import MigrationExecutor

from apps.platform.audit.checks import list_missing_triggers
from controlplane.env import Env

FOLDERS = ("broker/queue", "broker/control", "beat", "logs", "uploads", "scratch")


class CannotStart(Exception):
    """Why the plane does not come up, in a sentence for the terminal."""


def make_folders(env: Env) -> None:
    """The folders of the home, and of a store that lies in it; CannotStart where that cannot be written."""
    try:
        for name in FOLDERS if env.artifact_url else (*FOLDERS, "artifacts/sha256"):
            (env.home / name).mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as failure:
        raise CannotStart(f"PLANE_HOME={env.home} cannot be written: {failure.strerror}. Name another.") from None


def ready_database(*, migrate: bool) -> None:
    """Bring the tables up to date, or see that they are, and that nobody has opened the audit trail."""
    try:
        if migrate:
            call_command("migrate", interactive=False, verbosity=0)
        elif lacking := list_pending_migrations():
            raise CannotStart(
                f"The database lacks {len(lacking)} migrations, {lacking[0]} first: run manage.py migrate."
            )
        if faults := list_missing_triggers():
            raise CannotStart("\n".join(faults))
    except DatabaseError as failure:
        message = str(failure).strip().partition("\n")[0] or type(failure).__name__
        raise CannotStart(f"The database cannot be used: {message}. Look at it, or at DATABASE_URL.") from None


def list_pending_migrations() -> list[str]:
    executor = MigrationExecutor(connection)
    plan = executor.migration_plan(executor.loader.graph.leaf_nodes())
    return [f"{migration.app_label}.{migration.name}" for migration, _ in plan]
