"""What people, schedules and commands ask for; a process of the dispatcher's host does it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from django.db import IntegrityError, transaction
from django.db.models import QuerySet

from apps.core import policy
from apps.core.actors import Actor
from apps.core.errors import Conflict
from apps.platform.audit import services as audit
from apps.site.snapshots.destinations import choose_destination
from apps.site.snapshots.models import Snapshot, SnapshotOperation
from apps.site.snapshots.states import OPEN_STATES, OperationKind, OperationState, SnapshotState
from deepseek.messages import N_

READABLE = (SnapshotState.STORED, SnapshotState.DAMAGED)


def request_snapshot(*, actor: Actor, destination: str = "") -> SnapshotOperation:
    """Queue a snapshot of the plane. Raises Conflict where one is open, or no destination is set; Invalid for an
    unknown one."""
    policy.require(actor, "snapshot.create")
    name = choose_destination(destination)
    with refuse_second(OperationKind.CREATE, destination=name), transaction.atomic():
        snapshot = Snapshot.objects.create(destination=name, requested_by=actor.label[:200])
        operation = queue(actor, snapshot, OperationKind.CREATE)
        audit.record(actor=actor, action="snapshot.create", obj=snapshot, after={"destination": name})
    return operation


def request_verification(*, actor: Actor, snapshot: Snapshot | None = None, destination: str = "") -> SnapshotOperation:
    """Queue a verification: every object of the snapshot is read back. Without one it is the newest of the destination.
    Raises Conflict, or Invalid for an unknown destination."""
    policy.require(actor, "snapshot.verify")
    if snapshot is None:
        name = choose_destination(destination)
        snapshot = choose_newest(Snapshot.objects.filter(destination=name, state__in=READABLE))
    return request_operation(actor, snapshot, OperationKind.VERIFY, "snapshot.verify")


def request_drill(*, actor: Actor, snapshot: Snapshot | None = None) -> SnapshotOperation:
    """Queue a restore drill of this snapshot, or of the newest one. Raises Conflict."""
    policy.require(actor, "plane.restore_drill")
    if snapshot is None:
        snapshot = choose_newest(Snapshot.objects.filter(state=SnapshotState.STORED))
    return request_operation(actor, snapshot, OperationKind.DRILL, "snapshot.drill")


def request_removal(*, actor: Actor, snapshot: Snapshot, reason: str = "") -> SnapshotOperation:
    """Queue the removal of a snapshot and of what only it needs. Raises Conflict."""
    policy.require(actor, "snapshot.remove")
    return request_operation(actor, snapshot, OperationKind.REMOVE, "snapshot.remove", reason)


def request_operation(
    actor: Actor, snapshot: Snapshot, kind: OperationKind, action: str, reason: str = ""
) -> SnapshotOperation:
    scope = {"destination": snapshot.destination} if kind == OperationKind.DRILL else {"snapshot": snapshot.pk}
    with refuse_second(kind, **scope), transaction.atomic():
        snapshot = Snapshot.objects.select_for_update().get(pk=snapshot.pk)
        if snapshot.state not in READABLE:
            raise build_unreadable_error(snapshot)
        operation = queue(actor, snapshot, kind)
        audit.record(actor=actor, action=action, obj=snapshot, reason=reason, after={"operation": operation.pk})
    return operation


def build_unreadable_error(snapshot: Snapshot) -> Conflict:
    return Conflict(
        "Snapshot {number} is {state}: there is nothing to read.",
        number=snapshot.pk,
        state=snapshot.state,
        code="snapshot_not_stored",
        field="snapshot",
        limit=", ".join(READABLE),
        hint=N_("Choose one that is stored."),
    )


def choose_newest(snapshots: QuerySet[Snapshot]) -> Snapshot:
    """The one with the newest data. Raises Conflict where there is none."""
    snapshot = snapshots.exclude(made_at=None).order_by("-made_at", "-pk").first()
    if snapshot is None:
        raise Conflict(
            "There is no snapshot that could be read.",
            code="snapshot_missing",
            field="snapshot",
            hint=N_("Create one first."),
        )
    return snapshot


@contextmanager
def refuse_second(kind: OperationKind, **scope: object) -> Iterator[None]:
    """Conflict where an operation of the kind is open in the scope, also one that another request queues just now."""
    rows = SnapshotOperation.objects.filter(kind=kind, state__in=OPEN_STATES, **scope)
    if (open_one := rows.first()) is not None:
        raise build_open_error(open_one.pk, open_one.state)
    try:
        yield
    except IntegrityError:
        other = rows.first()
        raise build_open_error(other.pk if other else 0, other.state if other else OperationState.QUEUED) from None


def build_open_error(number: int, state: str) -> Conflict:
    return Conflict(
        "Operation {number} of the same kind is {state} already.",
        number=number,
        state=state,
        code="snapshot_operation_open",
        field="snapshot",
        hint=N_("Wait until it has ended."),
    )


def queue(actor: Actor, snapshot: Snapshot, kind: OperationKind) -> SnapshotOperation:
    return SnapshotOperation.objects.create(
        snapshot=snapshot, destination=snapshot.destination, kind=kind, requested_by=actor.label[:200]
    )
