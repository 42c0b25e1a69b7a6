"""Assignments as people and rollouts make them: a release for one device, in order, and taken back.

Every change of what a device is told runs under the lock of its row, so that two are ordered and never raced.
"""

from __future__ import annotations

from datetime import timedelta

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from apps.core.actors import Actor
from apps.core.errors import Conflict, Invalid, StaleState
from apps.core.policy import require
from apps.fleet.devices.errors import build_closed_error, build_state_error
from apps.fleet.devices.models import Assignment, AssignmentEvent, Device
from apps.fleet.devices.services.locks import bump_generation, lock_device
from apps.fleet.devices.states import OFFERED, OPEN, AssignmentState, DeviceKind, DeviceState
from apps.fleet.releases.models import Release
from apps.fleet.releases.states import KeyState, ReleaseState
from apps.ml.registry.blocks import require_unblocked
from apps.ml.registry.services.validation import check_text
from apps.platform.audit.services import change_state, record
from deepseek.messages import N_

HAD = (AssignmentState.SUCCEEDED, AssignmentState.ROLLED_BACK)  # a device of these has had the release


def assign_release(
    *, actor: Actor, device: Device, release: Release, deadline_seconds: int | None = None, reason: str = ""
) -> Assignment:
    """Let the device install the release. What is open is superseded: at once where the device has not been told of
    it, else it is told to stop, and the new one waits for that.

    Raises Invalid `architecture_mismatch`, `release_revoked`, `release_key_revoked`, `release_of_another_project`,
    `downgrade_refused`; Conflict `device_state`, `already_assigned`, `already_running`.
    """
    require(actor, "device.assign", device)
    check_text("reason", reason, 500)
    with transaction.atomic():
        locked = lock_device(device)
        check_assignable(locked, release)
        is_free, moved = make_room(actor, locked)
        assignment = Assignment(
            project=locked.project,
            device=locked,
            release=release,
            state=AssignmentState.ASSIGNED if is_free else AssignmentState.WAITING,
            limit_seconds=deadline_seconds or round(settings.ENV.device_deadline_hours * 3600),
            created_by=actor.label[:200],
        )
        if is_free:
            assignment.deadline = timezone.now() + timedelta(seconds=assignment.limit_seconds)
        assignment.save(force_insert=True)
        Assignment.objects.filter(pk__in=[row.pk for row in moved]).update(superseded_by=assignment)
        add_event(assignment, assignment.state, message=reason)
        bump_generation(locked)
        record(
            actor=actor,
            action="device.assign",
            obj=assignment,
            reason=reason,
            after={"device": locked.pk, "release": release.pk, "state": assignment.state},
            digests={"release": release.payload_digest},
        )
    return assignment


def check_assignable(device: Device, release: Release) -> None:
    """Raise what `assign_release` says, of a locked device."""
    if device.state != DeviceState.ACTIVE:
        raise build_state_error(device)
    check_release(device.project_id, release)
    check_fit(device, release)


def check_release(project_id: int, release: Release) -> None:
    """Raise for a release that no device of the project may be given."""
    if release.project_id != project_id:
        raise Invalid(
            "The release is of another project.", code="release_of_another_project", field="release", limit="its own"
        )
    if release.state == ReleaseState.REVOKED:
        raise Invalid(
            "The release {release} is revoked.",
            release=release,
            code="release_revoked",
            field="release",
            limit="a release that counts",
            hint=N_("Issue another one."),
        )
    require_unblocked(release.variant.version)
    if release.key.state == KeyState.REVOKED:
        raise Invalid(
            "The key that signed the release {release} is revoked.",
            release=release,
            code="release_key_revoked",
            field="release",
            limit="a release that counts",
            hint=N_("Issue another one."),
        )


def check_fit(device: Device, release: Release) -> None:
    """Raise for a release that this device cannot be given now."""
    if release.architecture not in ("any", device.architecture):
        raise Invalid(
            "The release is for {found}, and the device is {architecture}.",
            found=release.architecture,
            architecture=device.architecture or "of an unknown architecture",
            code="architecture_mismatch",
            field="release",
            limit=device.architecture or "any",
            hint=N_("Release a variant that was made for this processor."),
        )
    check_order(device, release)
    if device.assignments.filter(
        state__in=(AssignmentState.WAITING, AssignmentState.ASSIGNED), release=release
    ).exists():
        raise Conflict(
            "The device {name} has this release assigned already.",
            name=device.name,
            code="already_assigned",
            field="release",
            hint=N_("Wait for it, or cancel it first."),
        )


def check_order(device: Device, release: Release) -> None:
    """Raise for a release that the device runs, and for one that an agent would refuse: not above what it had."""
    if device.running_id == release.pk and not device.assignments.filter(state__in=OPEN).exists():
        raise Conflict(
            "The device {name} runs this release already.",
            name=device.name,
            code="already_running",
            field="release",
            hint=N_("There is nothing to do."),
        )
    if device.kind != DeviceKind.AGENT:
        return
    had = device.assignments.filter(state__in=HAD, release__model_name=release.model_name)
    newest = had.order_by("-release__sequence").values_list("release__sequence", flat=True).first() or 0
    if release.pk != device.running_id and release.sequence <= newest:
        raise Invalid(
            "The release has the sequence {sequence}, and the device has had {newest}.",
            sequence=release.sequence,
            newest=newest,
            code="downgrade_refused",
            field="release",
            limit=newest + 1,
            hint=N_("To go back, issue a new release of the older variant."),
        )


def make_room(actor: Actor, device: Device) -> tuple[bool, list[Assignment]]:
    """Supersede what is open: (whether the device can be told of the next one now, what was superseded)."""
    moved = []
    waiting = device.assignments.filter(state=AssignmentState.WAITING).first()
    if waiting is not None:
        end(waiting, AssignmentState.SUPERSEDED, actor=actor, action="device.supersede")
        moved.append(waiting)
    offered = device.assignments.filter(state__in=OFFERED).first()
    if offered is None:
        return True, moved
    if offered.state == AssignmentState.ASSIGNED:  # one that somebody has cancelled stays cancelled
        moved.append(offered)
    return take_back(actor, offered, AssignmentState.SUPERSEDED, "device.supersede"), moved


def take_back(actor: Actor, assignment: Assignment, to: str, action: str, reason: str = "") -> bool:
    """End an offered assignment that the device has not been told of, else let it be told to stop; whether it ended.

    A poll may tell the device of it at this moment: whichever comes first in the database counts.
    """
    if assignment.state == AssignmentState.CANCELLING:
        return False
    if assignment.fetched_at is None:
        try:
            end(assignment, to, actor=actor, action=action, reason=reason, guard={"fetched_at": None})
            return True
        except StaleState:
            assignment.refresh_from_db()
    change_state(assignment, AssignmentState.CANCELLING, actor=actor, action=f"{action}_request", reason=reason)
    add_event(assignment, assignment.state, message=reason)
    return False


def cancel_assignment(*, actor: Actor, assignment: Assignment, reason: str = "") -> Assignment:
    """Take an assignment back. One that the device was told of ends when the device says so, or by its deadline.

    Raises Conflict `assignment_closed`.
    """
    require(actor, "device.cancel_assignment", assignment)
    check_text("reason", reason, 500)
    with transaction.atomic():
        device = lock_device(assignment.device)
        row = Assignment.objects.select_related("release").get(pk=assignment.pk)
        if row.state not in OPEN:
            raise build_closed_error(row)
        if row.state == AssignmentState.WAITING:
            end(row, AssignmentState.CANCELLED, actor=actor, action="device.cancel_assignment", reason=reason)
        elif take_back(actor, row, AssignmentState.CANCELLED, "device.cancel_assignment", reason):
            start_waiting(actor, device)
        bump_generation(device)
    return row


def end(
    assignment: Assignment,
    to: str,
    *,
    actor: Actor,
    action: str,
    reason: str = "",
    code: str = "",
    by_device: bool = False,
    guard: dict[str, object] | None = None,
    digests: dict[str, str] | None = None,
    **fields: object,
) -> None:
    """Move an assignment to an end, with its event. Under the lock of its device."""
    change_state(
        assignment,
        to,
        actor=actor,
        action=action,
        reason=reason,
        guard=guard,
        digests=digests,
        code=code,
        message=reason[:2000],
        ended_at=timezone.now(),
        **fields,
    )
    add_event(assignment, to, code=code, message=reason, by_device=by_device)


def start_waiting(actor: Actor, device: Device) -> None:
    """Tell the device of what waits, once nothing else is open. Under the lock of its row."""
    waiting = device.assignments.filter(state=AssignmentState.WAITING).first()
    if waiting is None or device.assignments.filter(state__in=OFFERED).exists():
        return
    deadline = timezone.now() + timedelta(seconds=waiting.limit_seconds)
    change_state(waiting, AssignmentState.ASSIGNED, actor=actor, action="device.assign_next", deadline=deadline)
    add_event(waiting, waiting.state)


def end_open_assignments(actor: Actor, device: Device, code: str, reason: str) -> None:
    """Take everything back at once, of a device that gets nothing more. Under the lock of its row."""
    for assignment in device.assignments.filter(state__in=OPEN).order_by("pk"):
        action = "device.cancel_assignment"
        end(assignment, AssignmentState.CANCELLED, actor=actor, action=action, reason=reason, code=code)


def add_event(
    assignment: Assignment,
    step: str,
    *,
    code: str = "",
    message: str = "",
    progress: float | None = None,
    by_device: bool = False,
) -> None:
    AssignmentEvent.objects.create(
        assignment=assignment,
        at=timezone.now(),
        by_device=by_device,
        step=str(step),
        code=code,
        message=message[:2000],
        progress=progress,
    )
