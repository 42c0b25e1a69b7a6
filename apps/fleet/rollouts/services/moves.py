"""What people do with a rollout: pause and resume, abort, retry devices, roll back in one action."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from django.db import IntegrityError, transaction
from django.db.models import QuerySet

from apps.core.actors import Actor
from apps.core.policy import require
from apps.fleet.devices.services import cancel_assignments, lock_devices
from apps.fleet.devices.states import OPEN as OPEN_ASSIGNMENTS
from apps.fleet.rollouts.chunks import split_into_chunks
from apps.fleet.rollouts.models import Rollout, RolloutDevice
from apps.fleet.rollouts.services.locks import lock_rollout, move_rollout, stop_waves, void_requests_of
from apps.fleet.rollouts.services.starting import claim_devices, release_devices, require_free_devices
from apps.fleet.rollouts.states import OPEN, RolloutState, Stage
from apps.ml.registry.models import ModelVersion
from apps.ml.registry.services.validation import check_text
from apps.platform.audit.services import record, seal_now

DEVICES_PER_STATEMENT = 500
FELL_BACK = "rolled_back"  # the code of a device that went back by itself: it refuses the same release again
ABORTABLE = (RolloutState.DRAFT, RolloutState.AWAITING_APPROVAL, RolloutState.APPROVED, *OPEN)
REVERSIBLE = (*OPEN, RolloutState.COMPLETED, RolloutState.ABORTED)


def pause_rollout(*, actor: Actor, rollout: Rollout, reason: str) -> Rollout:
    """Assign nothing more for now. Gates are still evaluated, and roll back where harm is shown."""
    require(actor, "rollout.pause", rollout)
    check_text("reason", reason, 500, required=True)
    with transaction.atomic():
        locked = lock_rollout(rollout, RolloutState.RUNNING)
        move_rollout(locked, RolloutState.PAUSED, actor=actor, action="rollout.pause", reason=reason)
    return locked


def resume_rollout(*, actor: Actor, rollout: Rollout, reason: str = "") -> Rollout:
    """End a pause."""
    require(actor, "rollout.resume", rollout)
    check_text("reason", reason, 500)
    with transaction.atomic():
        locked = lock_rollout(rollout, RolloutState.PAUSED)
        move_rollout(locked, RolloutState.RUNNING, actor=actor, action="rollout.resume", reason=reason)
    return locked


def abort_rollout(*, actor: Actor, rollout: Rollout, reason: str) -> Rollout:
    """End it: open assignments are taken back, and devices that have the version keep it."""
    require(actor, "rollout.abort", rollout)
    check_text("reason", reason, 500, required=True)
    with transaction.atomic():
        locked = lock_rollout(rollout, *ABORTABLE)
        move_rollout(locked, RolloutState.ABORTED, actor=actor, action="rollout.abort", reason=reason)
        stop_waves(locked, actor=actor, reason=reason)
        void_requests_of(locked, actor=actor)
        take_assignments_back(actor, locked, reason)
        release_devices(locked)
        seal_now()
    return locked


def abort_rollouts_of_version(*, actor: Actor, version: ModelVersion, reason: str) -> list[Rollout]:
    """Abort every rollout that would still give this version to a device; those that it ended. One that runs is to be
    rolled back instead where devices have the version: `roll_back`."""
    require(actor, "rollout.abort", version.model)
    rows = Rollout.objects.filter(version=version, project=version.model.project_id, state__in=ABORTABLE)
    covering = Rollout.objects.filter(version=version, is_covering=True)
    with transaction.atomic():
        for rollout in covering.select_for_update():
            Rollout.objects.filter(pk=rollout.pk).update(is_covering=False)
            record(actor=actor, action="rollout.stop_covering", obj=rollout, reason=reason)
        return [abort_rollout(actor=actor, rollout=row, reason=reason) for row in rows.order_by("pk")]


def roll_back(*, actor: Actor, rollout: Rollout, reason: str) -> Rollout:
    """Let every device that has the version go back to the release it ran before: the dispatcher issues and assigns it.
    Open assignments are taken back, and nobody has to approve: those releases were approved before.

    Raises Conflict `rollout_state`, and `devices_in_rollout` where an ended rollout's devices belong to another one.
    """
    require(actor, "rollout.roll_back", rollout)
    check_text("reason", reason, 500, required=True)
    try:
        with transaction.atomic():
            locked = lock_rollout(rollout, *REVERSIBLE)
            begin_rollback(actor, locked, reason)
            seal_now()
    except IntegrityError:
        require_free_devices(rollout)
        raise
    return locked


def begin_rollback(actor: Actor, rollout: Rollout, reason: str) -> None:
    """Move to `rolling_back`, by a person or by a gate. Under the lock of the rollout."""
    claim_devices(rollout)
    move_rollout(
        rollout,
        RolloutState.ROLLING_BACK,
        actor=actor,
        action="rollout.roll_back",
        reason=reason,
        is_covering=False,
        ended_at=None,
    )
    stop_waves(rollout, actor=actor, reason=reason)
    void_requests_of(rollout, actor=actor)


def take_assignments_back(actor: Actor, rollout: Rollout, reason: str) -> None:
    """Cancel the assignments of devices that have not ended them; what a person assigned behind one stays."""
    rows = RolloutDevice.objects.filter(rollout=rollout, stage=Stage.ASSIGNED)
    rows = rows.filter(assignment__state__in=OPEN_ASSIGNMENTS, assignment__superseded_by=None)
    for keys in split_into_chunks(list(rows.values_list("device_id", flat=True)), DEVICES_PER_STATEMENT):
        devices = list(lock_devices(rollout.project, keys).values())
        cancel_assignments(actor=actor, project=rollout.project, devices=devices, reason=reason)


def retry_devices(*, actor: Actor, rollout: Rollout, codes: Sequence[str] = (), reason: str = "") -> int:
    """Let devices that failed try again, those with one of the codes or all; how many. One that fell back by itself
    does not: it refuses the same release. Raises Conflict `rollout_state`."""
    require(actor, "rollout.retry", rollout)
    check_text("reason", reason, 500)
    with transaction.atomic():
        locked = lock_rollout(rollout, *OPEN)
        failed = list_retryable(locked, codes)
        count = failed.update(stage=Stage.PLANNED, code="", retry_at=None, attempts=0)
        Rollout.objects.filter(pk=locked.pk).update(next_step_at=None)
        record(
            actor=actor,
            action="rollout.retry",
            obj=locked,
            reason=reason,
            after={"codes": list(codes), "devices": count},
        )
    return count


def list_retryable(rollout: Rollout, codes: Iterable[str]) -> QuerySet[RolloutDevice]:
    rows = RolloutDevice.objects.filter(rollout=rollout, stage=Stage.FAILED).exclude(code=FELL_BACK)
    chosen = list(codes)
    return rows.filter(code__in=chosen) if chosen else rows
