"""What an operation has found or made, written into the snapshot and the audit trail."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from django.db import transaction
from django.db.models.functions import Now

from apps.core import policy
from apps.core.actors import Actor
from apps.core.errors import Conflict
from apps.platform.audit.models import Result
from apps.platform.audit.services import change_state, record
from apps.site.snapshots.layout import Manifest
from apps.site.snapshots.models import Snapshot, SnapshotOperation
from apps.site.snapshots.notices import notify_damaged, settle_damaged
from apps.site.snapshots.services.requests import request_removal
from apps.site.snapshots.states import OperationKind, OperationState, SnapshotState

UNREADABLE = "index"  # stands for the name of an object where the root or the index of a snapshot is damaged
MAX_DAMAGED = MAX_MISSING = 100  # names that a row keeps; a manifest has all that are missing
DRILL_PASSED, DRILL_FAILED = "plane.restore_drill", "plane.restore_drill_failed"
"""Actions of the audit trail. The doctor reads the last time of the first one."""


def record_stored(
    *,
    actor: Actor,
    snapshot: Snapshot,
    name: str,
    repository_id: str,
    manifest: Manifest,
    total_bytes: int,
    added_objects: int,
    added_bytes: int,
    seconds: float,
) -> Snapshot:
    """The snapshot lies in the repository and was read back."""
    policy.require(actor, "snapshot.run")
    return change_state(
        snapshot,
        SnapshotState.STORED,
        actor=actor,
        name=name,
        repository_id=repository_id,
        made_at=datetime.fromisoformat(manifest.made_at),
        stored_at=Now(),
        verified_at=Now(),
        artifacts=manifest.artifacts,
        total_bytes=total_bytes,
        added_objects=added_objects,
        added_bytes=added_bytes,
        seconds=round(seconds, 3),
        audit_seq=manifest.audit.get("seq", 0),
        missing=list(manifest.missing[:MAX_MISSING]),
    )


def adopt_snapshot(
    *, actor: Actor, destination: str, name: str, repository_id: str, made_at: str, artifacts: int, total_bytes: int
) -> Snapshot:
    """A row for a snapshot that lies in the repository and that this database does not know, as after a restore."""
    policy.require(actor, "snapshot.create")
    with transaction.atomic():
        snapshot = Snapshot.objects.create(
            destination=destination,
            name=name,
            repository_id=repository_id,
            state=SnapshotState.STORED,
            requested_by=actor.label[:200],
            made_at=datetime.fromisoformat(made_at),
            artifacts=artifacts,
            total_bytes=total_bytes,
        )
        record(actor=actor, action="snapshot.adopt", obj=snapshot, after={"name": name, "destination": destination})
    return snapshot


def adopt_unreadable(*, actor: Actor, destination: str, name: str, repository_id: str) -> Snapshot:
    """A row for what lies in the repository as a snapshot and cannot be read: it keeps everything there from being
    removed, until somebody removes it."""
    policy.require(actor, "snapshot.create")
    with transaction.atomic():
        snapshot = Snapshot.objects.create(
            destination=destination,
            name=name,
            repository_id=repository_id,
            state=SnapshotState.DAMAGED,
            requested_by=actor.label[:200],
            damaged=[UNREADABLE],
        )
        record(actor=actor, action="snapshot.adopt", obj=snapshot, after={"name": name, "damaged": UNREADABLE})
        notify_damaged(snapshot)
    return snapshot


def record_verification(*, actor: Actor, snapshot: Snapshot, damaged: Sequence[str]) -> None:
    """Every object was read back; `damaged` are the names of those that are not whole."""
    policy.require(actor, "snapshot.run")
    state = SnapshotState.DAMAGED if damaged else SnapshotState.STORED
    fields: dict[str, Any] = {"damaged": list(damaged[:MAX_DAMAGED])}
    if not damaged:
        fields["verified_at"] = Now()
    with transaction.atomic():
        snapshot.refresh_from_db()
        if snapshot.state != state:
            change_state(snapshot, state, actor=actor, action="snapshot.verified", **fields)
            (notify_damaged if damaged else settle_damaged)(snapshot)
            return
        Snapshot.objects.filter(pk=snapshot.pk, state=state).update(**fields)
        record(actor=actor, action="snapshot.verified", obj=snapshot, after={"damaged": len(damaged)})


def record_removal(*, actor: Actor, snapshot: Snapshot, objects: int, size: int) -> None:
    """The snapshot is gone from the repository, with `objects` that only it needed."""
    policy.require(actor, "snapshot.run")
    snapshot.refresh_from_db()
    if snapshot.state == SnapshotState.REMOVED:
        return
    with transaction.atomic():
        change_state(
            snapshot, SnapshotState.REMOVED, actor=actor, reason=f"{objects} objects, {size} bytes went with it"
        )
        settle_damaged(snapshot)


def record_drill(*, actor: Actor, snapshot: Snapshot, passed: bool, figures: Mapping[str, Any]) -> None:
    """A restore drill has ended. What the doctor counts is one that passed."""
    policy.require(actor, "plane.restore_drill")
    record(
        actor=actor,
        action=DRILL_PASSED if passed else DRILL_FAILED,
        obj=snapshot,
        result=Result.DONE if passed else Result.FAILED,
        after=dict(figures),
    )


def trim_snapshots(*, actor: Actor, destination: str, keep: int) -> list[SnapshotOperation]:
    """Queue the removal of all but the newest `keep` snapshots; the newest that passed a drill always stays."""
    policy.require(actor, "snapshot.remove")
    stored = list(
        Snapshot.objects.filter(destination=destination, state__in=(SnapshotState.STORED, SnapshotState.DAMAGED))
        .exclude(made_at=None)  # of unknown age: a person decides
        .order_by("-made_at", "-pk")
        .values_list("pk", flat=True)
    )
    tried = (
        SnapshotOperation.objects.filter(kind=OperationKind.DRILL, state=OperationState.SUCCEEDED, snapshot__in=stored)
        .order_by("-snapshot__made_at")
        .values_list("snapshot", flat=True)
        .first()
    )
    removed = []
    for snapshot in Snapshot.objects.filter(pk__in=[pk for pk in stored[keep:] if pk != tried]).order_by("made_at"):
        try:
            removed.append(request_removal(actor=actor, snapshot=snapshot, reason=f"older than the newest {keep}"))
        except Conflict:  # asked for already
            continue
    return removed
