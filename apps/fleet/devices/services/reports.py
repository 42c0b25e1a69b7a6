"""What devices report of their assignments: that they were told, how far they are, that they stopped or failed.

None of it makes an assignment succeed: that takes a receipt (receipts.py).
"""

from __future__ import annotations

from django.db import transaction
from django.db.models import F
from django.db.models.functions import Coalesce
from django.utils import timezone

from apps.core.actors import Actor
from apps.core.policy import require
from apps.fleet.devices.errors import build_closed_error
from apps.fleet.devices.models import Assignment, Device
from apps.fleet.devices.schemas import StatusBody
from apps.fleet.devices.services.assignments import HAD, add_event, end, start_waiting
from apps.fleet.devices.services.locks import bump_generation, lock_device
from apps.fleet.devices.services.presence import note_presence
from apps.fleet.devices.services.receipts import move_running
from apps.fleet.devices.states import OFFERED, AssignmentState
from apps.platform.audit.services import change_state
from apps.platform.nodes.samples import get_database_now
from deepseek.messages import Message

MAX_REPORTS = 1_000  # kept of one assignment; what comes after is taken and dropped
ENDS = {
    "failed": AssignmentState.FAILED,
    "rolled_back": AssignmentState.ROLLED_BACK,
    "cancelled": AssignmentState.CANCELLED,
}
SILENT = "silent"
EXPIRED_PER_ROUND = 200


def mark_fetched(assignment: Assignment) -> bool:
    """Note that the device is told of it; False where it was taken back just now.

    No record: it is a poll. It is what decides whether a person's cancelling comes before or after.
    """
    rows = Assignment.objects.filter(pk=assignment.pk, state=assignment.state)
    return bool(rows.update(fetched_at=Coalesce(F("fetched_at"), timezone.now())))


def record_status(*, actor: Actor, device: Device, assignment: Assignment, body: StatusBody) -> Assignment:
    """Keep how far the device is; `failed`, `rolled_back` and `cancelled` end the assignment.

    The same end again changes nothing. A version that fails after its receipt, while the agent still watches it, is
    `rolled_back` too: where no receipt of the release before follows, this alone says so. Raises Conflict
    `assignment_closed`.
    """
    require(actor, "device.report", device)
    to = ENDS.get(body.step)
    if to is None:
        keep_step(assignment, body)
        return assignment
    with transaction.atomic():
        locked = lock_device(device)
        row = Assignment.objects.select_related("release").get(pk=assignment.pk)
        if to == AssignmentState.CANCELLED and row.superseded_by_id:
            to = AssignmentState.SUPERSEDED
        if row.state == to:
            return row
        is_reverted = to == AssignmentState.ROLLED_BACK and is_last_success(row)
        if row.state not in OFFERED and not is_reverted:
            raise build_closed_error(row)
        end(
            row,
            to,
            actor=actor,
            action=f"device.{to}",
            reason=body.message,
            code=body.code,
            by_device=True,
            step=body.step,
            progress=body.progress,
            reports=row.reports + 1,
        )
        if is_reverted and locked.running_id == row.release_id:  # no later receipt tells what runs instead
            move_running(actor, locked, None, {"release": row.release.payload_digest})
        start_waiting(actor, locked)
        bump_generation(locked)
    return row


def is_last_success(assignment: Assignment) -> bool:
    """Whether it succeeded, and the device has switched to nothing that it was assigned later."""
    later = Assignment.objects.filter(device=assignment.device_id, pk__gt=assignment.pk, state__in=HAD)
    return assignment.state == AssignmentState.SUCCEEDED and not later.exists()


def keep_step(assignment: Assignment, body: StatusBody) -> None:
    """A step on the way: telemetry, so no record."""
    with transaction.atomic():
        rows = Assignment.objects.filter(pk=assignment.pk, state__in=OFFERED)
        now = timezone.now()
        facts = {"step": body.step, "progress": body.progress, "message": body.message, "code": body.code}
        if not rows.update(reports=F("reports") + 1, fetched_at=Coalesce(F("fetched_at"), now), **facts):
            raise build_closed_error(Assignment.objects.get(pk=assignment.pk))
        assignment.refresh_from_db()
        if assignment.reports <= MAX_REPORTS:
            about = {"code": body.code, "message": body.message, "progress": body.progress}
            add_event(assignment, body.step, by_device=True, **about)  # type: ignore[arg-type]


def reject_cancellation(*, actor: Actor, device: Device, assignment: Assignment, reason: str = "") -> Assignment:
    """A device that does not stop any more: its assignment goes on. Raises Conflict `assignment_closed`."""
    require(actor, "device.report", device)
    with transaction.atomic():
        locked = lock_device(device)
        row = Assignment.objects.get(pk=assignment.pk)
        if row.state != AssignmentState.CANCELLING:
            raise build_closed_error(row)
        change_state(row, AssignmentState.ASSIGNED, actor=actor, action="device.reject_cancellation", reason=reason)
        add_event(row, row.state, message=reason, by_device=True)
        bump_generation(locked)
    return row


def expire_assignments(*, actor: Actor) -> int:
    """Fail what has passed its deadline without a receipt: silence is no success. Returns how many.

    Time in which the plane was away does not count, and a receipt that comes later still does.
    """
    require(actor, "device.expire_assignments")
    now = get_database_now()
    note_presence(actor=actor, now=now)
    due = Assignment.objects.filter(state__in=OFFERED, deadline__lt=now)
    expired = 0
    for assignment in due.select_related("device").order_by("deadline")[:EXPIRED_PER_ROUND]:
        with transaction.atomic():
            device = lock_device(assignment.device)
            row = Assignment.objects.get(pk=assignment.pk)
            if row.state not in OFFERED or row.deadline is None or row.deadline != assignment.deadline:
                continue
            reason = Message("No receipt came within {seconds} seconds.", seconds=row.limit_seconds)
            end(row, AssignmentState.FAILED, actor=actor, action="device.expire", reason=reason, code=SILENT)
            start_waiting(actor, device)
            bump_generation(device)
            expired += 1
    return expired
