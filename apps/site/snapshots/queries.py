"""Reads of snapshots."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from apps.core import policy
from apps.core.actors import Actor
from apps.core.errors import NotFound
from apps.platform.calendars.models import Schedule
from apps.platform.calendars.states import ScheduleState
from apps.site.snapshots.models import Snapshot, SnapshotOperation, SnapshotOperationQuerySet, SnapshotQuerySet
from apps.site.snapshots.states import OPEN_STATES, OperationKind, OperationState, SnapshotState

MAX_OPERATIONS = 50  # on the page of a snapshot


@dataclass(frozen=True, slots=True)
class RecoveryStatus:
    """What a recovery could count on today. `rpo_seconds` and `rto_seconds` are of the last drill that passed."""

    newest: Snapshot | None
    last_drill: SnapshotOperation | None
    drilled_at: datetime | None
    rpo_seconds: float | None
    rto_seconds: float | None


def list_snapshots(actor: Actor) -> SnapshotQuerySet:
    policy.require(actor, "snapshot.view")
    return Snapshot.objects.visible_to(actor).with_drill()


def get_snapshot(actor: Actor, pk: int) -> Snapshot:
    """The snapshot. Raises NotFound."""
    snapshot = list_snapshots(actor).filter(pk=pk).first()
    if snapshot is None:
        raise NotFound("There is no snapshot {number}.", number=pk, field="snapshot")
    return snapshot


def list_operations(actor: Actor, snapshot: Snapshot | None = None) -> SnapshotOperationQuerySet:
    """Operations, the newest first; those that wait or run where no snapshot is named."""
    policy.require(actor, "snapshot.view")
    operations = SnapshotOperation.objects.visible_to(actor).select_related("snapshot").order_by("-id")
    if snapshot is None:
        return operations.filter(state__in=OPEN_STATES)
    return operations.filter(snapshot=snapshot)


def get_recovery_status(actor: Actor) -> RecoveryStatus:
    policy.require(actor, "snapshot.view")
    newest = Snapshot.objects.filter(state=SnapshotState.STORED).order_by("-made_at").first()
    drills = SnapshotOperation.objects.filter(kind=OperationKind.DRILL).order_by("-id")
    ended = drills.filter(state__in=(OperationState.SUCCEEDED, OperationState.FAILED)).first()
    passed = drills.filter(state=OperationState.SUCCEEDED).first()
    figures = passed.result if passed else {}
    return RecoveryStatus(
        newest, ended, passed.ended_at if passed else None, figures.get("rpo_seconds"), figures.get("rto_seconds")
    )


def has_due_operation(actor: Actor) -> bool:
    """Whether an operation waits for a process. One query by the index of open ones."""
    policy.require(actor, "snapshot.run")
    return SnapshotOperation.objects.filter(state=OperationState.QUEUED).exists()


def has_schedule(actor: Actor) -> bool:
    """Whether a schedule that is active creates snapshots."""
    policy.require(actor, "snapshot.view")
    return Schedule.objects.filter(project=None, target="snapshot", state=ScheduleState.ACTIVE).exists()
