"""Taking operations from their queue, one after another."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from apps.core.actors import Actor
from apps.core.errors import PlaneError, StaleState
from apps.site.snapshots.models import SnapshotOperation
from apps.site.snapshots.services import (
    LostOperation,
    claim_operation,
    finish_operation,
    recover_operations,
    return_operation,
)
from apps.site.snapshots.states import OperationKind
from deepseek.job import EngineError
from deepseek.snapshots.repository import Repository
from workers.snapshots.creation import create_snapshot
from workers.snapshots.drill import drop_abandoned_databases, run_drill
from workers.snapshots.maintenance import remove_snapshot, verify_snapshot
from workers.snapshots.progress import Progress
from workers.snapshots.repositories import open_repository

log = logging.getLogger(__name__)

WORK: dict[str, Callable[[Actor, SnapshotOperation, Repository, Progress], dict[str, Any]]] = {
    OperationKind.CREATE: create_snapshot,
    OperationKind.VERIFY: verify_snapshot,
    OperationKind.REMOVE: remove_snapshot,
    OperationKind.DRILL: run_drill,
}


def run_operations(actor: Actor) -> int:
    """Run operations until none is left; returns how many."""
    count = 0
    recover_operations(actor=actor)
    drop_abandoned_databases()
    while run_operation(actor) is not None:
        count += 1
    return count


def run_operation(actor: Actor, pk: int | None = None) -> SnapshotOperation | None:
    """Claim the oldest operation, or this one, and run it to its end; None where there is none to claim."""
    operation = claim_operation(actor=actor, pk=pk)
    if operation is None:
        return None
    try:
        with Progress(actor, operation) as progress:
            result = WORK[operation.kind](actor, operation, open_repository(operation.destination), progress)
        finish_operation(actor=actor, operation=operation, result=result)
    except (LostOperation, StaleState):
        log.warning("snapshot operation %s: lost to another process", operation.pk)
    except (SystemExit, KeyboardInterrupt):
        with suppress(StaleState):  # another process has it by now
            return_operation(actor=actor, operation=operation)
        raise
    except Exception as failure:
        error = convert_error(failure) if isinstance(failure, EngineError) else failure
        if not isinstance(error, PlaneError):
            log.exception("snapshot operation %s", operation.pk)
        with suppress(StaleState):
            finish_operation(actor=actor, operation=operation, error=error)
    operation.refresh_from_db()
    return operation


def convert_error(error: EngineError) -> PlaneError:
    """What the engine says, as an error of the plane."""
    return PlaneError(error.message, code=error.code, field=error.field, limit=error.limit, hint=error.hint)
