"""A release for many devices at once, for rollouts: by a few statements, and what became of each device.

The rows of the devices are locked in the order of their keys, so that two such calls wait for each other.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import timedelta

from django.conf import settings
from django.db import transaction
from django.db.models import Max
from django.utils import timezone

from apps.core.actors import Actor
from apps.core.errors import Invalid
from apps.core.policy import require
from apps.fleet.devices.models import Assignment, Device
from apps.fleet.devices.services.assignments import HAD, check_release
from apps.fleet.devices.services.bulk import (
    MAX_BATCH,
    insert_assignments,
    lock_devices,
    lock_open_assignments,
)
from apps.fleet.devices.states import AssignmentState, DeviceKind, DeviceState
from apps.fleet.releases.models import Release
from apps.ml.registry.services.validation import check_text
from apps.platform.accounts.models import Project


@dataclass(frozen=True, slots=True)
class BulkAssignments:
    """What became of each device."""

    assigned: dict[int, int] = field(default_factory=dict)  # {device: its assignment}
    refused: dict[int, str] = field(default_factory=dict)  # {device: code}, as `assign_release` raises it
    busy: set[int] = field(default_factory=set)  # devices that have another assignment open: try again once it ended


def assign_release_to_devices(
    *,
    actor: Actor,
    project: Project,
    release: Release,
    devices: Collection[int],
    deadline_seconds: int | None = None,
    reason: str = "",
) -> BulkAssignments:
    """Let devices of the project install a release: MAX_BATCH at most, by their keys.

    Unlike `assign_release` it supersedes nothing: a device that has another assignment open is `busy`. One that has
    this release assigned keeps that assignment, so the same call twice assigns once. Raises Invalid
    `release_revoked`, `release_key_revoked`, `release_of_another_project`.
    """
    require(actor, "device.assign", project)
    check_text("reason", reason, 500)
    if len(devices) > MAX_BATCH:
        raise Invalid(
            "{count} devices are too many for one call.", count=len(devices), field="devices", limit=MAX_BATCH
        )
    check_release(project.pk, release)
    outcome = BulkAssignments()
    with transaction.atomic():
        rows = lock_devices(project, devices)
        open_assignments = lock_open_assignments(rows)
        newest = find_newest_sequences(rows, release)
        free = []
        for device in rows.values():
            current = open_assignments.get(device.pk, [])
            own = next((row for row in current if row.release_id == release.pk), None)
            code = find_refusal(device, release, newest.get(device.pk, 0))
            if own is not None and own.state != AssignmentState.CANCELLING:
                outcome.assigned[device.pk] = own.pk
            elif code:
                outcome.refused[device.pk] = code
            elif current:
                outcome.busy.add(device.pk)
            else:
                free.append(device)
        outcome.refused.update(dict.fromkeys(set(devices) - set(rows), "device_unknown"))
        seconds = deadline_seconds or round(settings.ENV.device_deadline_hours * 3600)
        created = create_assignments(actor, project, release, free, seconds, reason)
        outcome.assigned.update({assignment.device_id: assignment.pk for assignment in created})
    return outcome


def find_newest_sequences(devices: Collection[int], release: Release) -> dict[int, int]:
    """{device: the highest sequence that it has had of the release's model}."""
    had = Assignment.objects.filter(
        device__in=list(devices), state__in=HAD, release__model_name=release.model_name
    ).order_by()
    newest = had.values("device").annotate(newest=Max("release__sequence"))
    return dict(newest.values_list("device", "newest"))


def find_refusal(device: Device, release: Release, newest: int) -> str:
    """The code of why the device cannot be given the release; "" where it can."""
    if device.state != DeviceState.ACTIVE:
        return "device_state"
    if release.architecture not in ("any", device.architecture):
        return "architecture_mismatch"
    if device.running_id == release.pk:
        return "already_running"
    if device.kind == DeviceKind.AGENT and release.sequence <= newest:
        return "downgrade_refused"
    return ""


def create_assignments(
    actor: Actor, project: Project, release: Release, devices: Collection[Device], seconds: int, reason: str
) -> list[Assignment]:
    if not devices:
        return []
    deadline = timezone.now() + timedelta(seconds=seconds)
    rows = [
        Assignment(
            project=project,
            device=device,
            release=release,
            state=AssignmentState.ASSIGNED,
            limit_seconds=seconds,
            deadline=deadline,
            created_by=actor.label[:200],
        )
        for device in devices
    ]
    return insert_assignments(actor, rows, reason)
