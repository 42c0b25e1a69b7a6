"""The queue of operations: claim by compare-and-set, beats, the end, and what happens to one whose process is gone."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from django.db import IntegrityError, transaction
from django.db.models.functions import Now

from apps.core import policy
from apps.core.actors import Actor
from apps.core.errors import PlaneError, StaleState
from apps.platform.audit.services import change_state
from apps.platform.nodes.samples import get_database_now
from apps.site.snapshots.models import SnapshotOperation
from apps.site.snapshots.states import OPEN_STATES, OperationKind, OperationState, SnapshotState
from deepseek.messages import Message

LOST_AFTER = timedelta(seconds=60)
"""Without a beat for so long, the process is gone: beats come every two seconds."""
MAX_ATTEMPTS = 3


class LostOperation(Exception):
    """The operation belongs to another process by now, or was ended."""


def claim_operation(*, actor: Actor, pk: int | None = None) -> SnapshotOperation | None:
    """The oldest queued operation (or `pk`) whose destination is free, now running; None if there is none."""
    policy.require(actor, "snapshot.run")
    queued = SnapshotOperation.objects.filter(state=OperationState.QUEUED).select_related("snapshot")
    busy = SnapshotOperation.objects.filter(state=OperationState.RUNNING).values("destination")
    queued = queued.exclude(destination__in=busy)
    operation = (queued.filter(pk=pk) if pk is not None else queued.order_by("pk")).first()
    if operation is None:
        return None
    try:
        change_state(
            operation,
            OperationState.RUNNING,
            actor=actor,
            guard={"attempt": operation.attempt},
            attempt=operation.attempt + 1,
            started_at=Now() if operation.started_at is None else operation.started_at,
            beat_at=Now(),
            progress={},
        )
    except (StaleState, IntegrityError):  # another process was faster with it, or with the destination
        return None
    operation.refresh_from_db()
    return operation


def report_progress(*, actor: Actor, operation: SnapshotOperation, progress: Mapping[str, Any]) -> None:
    """Note that the operation goes on, and how far it is. Telemetry: not recorded. Raises LostOperation."""
    policy.require(actor, "snapshot.run")
    if not get_own(operation).update(beat_at=Now(), progress=dict(progress)):
        raise LostOperation


def get_own(operation: SnapshotOperation) -> Any:
    return SnapshotOperation.objects.filter(pk=operation.pk, attempt=operation.attempt, state=OperationState.RUNNING)


def finish_operation(
    *,
    actor: Actor,
    operation: SnapshotOperation,
    result: Mapping[str, Any] | None = None,
    error: Exception | None = None,
) -> None:
    """End the operation; with an error it has failed, and so has the snapshot that it was to create."""
    policy.require(actor, "snapshot.run")
    fields: dict[str, Any] = {"ended_at": Now(), "result": dict(result or {})}
    if error is not None:
        fields["error"] = describe_error(error)
    with transaction.atomic():
        change_state(
            operation,
            OperationState.SUCCEEDED if error is None else OperationState.FAILED,
            actor=actor,
            guard={"attempt": operation.attempt},
            **fields,
        )
        if error is not None:
            fail_pending_snapshot(actor, operation, fields["error"])


def fail_pending_snapshot(actor: Actor, operation: SnapshotOperation, error: Mapping[str, Any]) -> None:
    snapshot = operation.snapshot
    snapshot.refresh_from_db()
    if operation.kind == OperationKind.CREATE and snapshot.state == SnapshotState.PENDING:
        change_state(snapshot, SnapshotState.FAILED, actor=actor, error=dict(error))


def describe_error(error: Exception) -> dict[str, Any]:
    """The error as a row keeps it. What is no error of ours tells its kind, and the system's words for an error of it:
    its text may hold an address."""
    if isinstance(error, PlaneError):
        message = error.message if isinstance(error.message, Message) else Message(str(error.message))
        hint = getattr(error, "hint", None)
        return {
            "code": error.code,
            **message.as_fields(),
            **(Message(hint).as_fields("hint") if hint else {}),
        }
    name = type(error).__name__
    if isinstance(error, OSError) and error.errno:
        name = f"{name}, {os.strerror(error.errno)}"
    elif isinstance(error, sqlite3.Error):  # of the copy of the database: a full disk, for instance
        name = f"{name}, {str(error)[:200]}"
    message = Message("The operation could not go on: {name}.", name=name)
    return {"code": "snapshot_fault", **message.as_fields()}


def return_operation(*, actor: Actor, operation: SnapshotOperation) -> None:
    """Put the operation back into the queue: its process has to stop."""
    policy.require(actor, "snapshot.run")
    change_state(
        operation, OperationState.QUEUED, actor=actor, guard={"attempt": operation.attempt}, beat_at=None, progress={}
    )


def fail_restored_operations(*, actor: Actor) -> int:
    """End what was open in the database of a restored plane: its process belongs to the plane that was; how many."""
    policy.require(actor, "snapshot.run")
    error = PlaneError("The plane was restored while this was open.", code="snapshot_restored")
    count = 0
    for operation in SnapshotOperation.objects.filter(state__in=OPEN_STATES).select_related("snapshot"):
        finish_operation(actor=actor, operation=operation, error=error)
        count += 1
    return count


def recover_operations(*, actor: Actor) -> int:
    """Queue again what has lost its process, or fail it after MAX_ATTEMPTS; returns how many."""
    policy.require(actor, "snapshot.run")
    lost = SnapshotOperation.objects.filter(
        state=OperationState.RUNNING, beat_at__lt=get_database_now() - LOST_AFTER
    ).select_related("snapshot")
    count = 0
    for operation in lost:
        try:
            if operation.attempt < MAX_ATTEMPTS:
                return_operation(actor=actor, operation=operation)
            else:
                error = PlaneError(
                    "The process of the operation was lost {count} times.",
                    count=operation.attempt,
                    code="snapshot_process_lost",
                )
                finish_operation(actor=actor, operation=operation, error=error)
        except StaleState:
            continue
        count += 1
    return count
