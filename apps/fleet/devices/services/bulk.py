"""Assignments and quarantine of many devices at once, for whatever acts on a fleet: a few statements for a batch,
whatever its size, and a record for each device all the same.

The caller opens the transaction, locks the devices with `lock_devices`, and hands in those.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db.models import F
from django.utils import timezone

from apps.core.actors import Actor
from apps.core.policy import require
from apps.fleet.devices.models import Assignment, AssignmentEvent, Device
from apps.fleet.devices.services.counts import Group, move_counts
from apps.fleet.devices.states import OFFERED, OPEN, AssignmentState, DeviceState
from apps.fleet.releases.models import Release
from apps.platform.accounts.models import Project
from apps.platform.audit.models import AuditRecord
from apps.platform.audit.services import change_states, draft, seal_now

MAX_BATCH = 1000  # devices of one call: SQLite takes so many keys in a statement


def lock_devices(project: Project, keys: Collection[int]) -> dict[int, Device]:
    """{key: the locked row}, in one order, so that two that lock many do not wait for each other."""
    rows = Device.objects.select_for_update(of=("self",)).filter(project=project, pk__in=keys).order_by("pk")
    return {device.pk: device for device in rows}


def lock_open_assignments(devices: Collection[int]) -> dict[int, list[Assignment]]:
    """{device: its open assignments, oldest first}, locked against a poll that tells the device of one."""
    rows: dict[int, list[Assignment]] = defaultdict(list)
    for row in Assignment.objects.select_for_update().filter(device__in=devices, state__in=OPEN).order_by("pk"):
        rows[row.device_id].append(row)
    return rows


def assign_releases(
    *, actor: Actor, project: Project, devices: Sequence[Device], releases: Mapping[int, Release], reason: str
) -> dict[int, Assignment]:
    """`assign_release` for locked devices: {device: its new assignment}. `releases`: by device, each one that the
    caller has checked: it counts, and is for the processor of the device."""
    require(actor, "device.assign", project)
    if not devices:
        return {}
    replaced = take_back_all(actor, [device.pk for device in devices], AssignmentState.SUPERSEDED, reason)
    limit = round(settings.ENV.device_deadline_hours * 3600)
    deadline = timezone.now() + timedelta(seconds=limit)
    rows = [
        build_assignment(actor, device, releases[device.pk], deadline, limit, replaced.get(device.pk, []))
        for device in devices
    ]
    new = {row.device_id: row for row in insert_assignments(actor, rows, reason)}
    superseded = [row for group in replaced.values() for row in group if row.state == AssignmentState.SUPERSEDED]
    for row in superseded:
        row.superseded_by = new[row.device_id]
    Assignment.objects.bulk_update(superseded, ["superseded_by"])
    return new


def insert_assignments(actor: Actor, rows: Sequence[Assignment], reason: str) -> list[Assignment]:
    """Save new assignments with their events and records, and let the next poll of each device be answered anew."""
    created = Assignment.objects.bulk_create(rows)
    add_events(created, reason)
    bump_generations([row.device_id for row in created])
    AuditRecord.objects.bulk_create(
        draft(
            actor=actor,
            action="device.assign",
            obj=row,
            reason=reason,
            after={"device": row.device_id, "release": row.release_id, "state": row.state},
            digests={"release": row.release.payload_digest},
        )
        for row in created
    )
    return created


def build_assignment(
    actor: Actor, device: Device, release: Release, deadline: datetime, limit: int, replaced: Sequence[Assignment]
) -> Assignment:
    """The device is told of it at once, unless it was told of another that it has to stop first."""
    is_free = not any(row.state in OFFERED for row in replaced)
    return Assignment(
        project_id=device.project_id,
        device=device,
        release=release,
        state=AssignmentState.ASSIGNED if is_free else AssignmentState.WAITING,
        limit_seconds=limit,
        deadline=deadline if is_free else None,
        created_by=actor.label[:200],
    )


def cancel_assignments(
    *, actor: Actor, project: Project, devices: Sequence[Device], reason: str
) -> dict[int, list[Assignment]]:
    """`cancel_assignment` of what is open of locked devices: {device: what was taken back}."""
    require(actor, "device.cancel_assignment", project)
    keys = [device.pk for device in devices]
    taken_back = take_back_all(actor, keys, AssignmentState.CANCELLED, reason)
    bump_generations(keys)
    return taken_back


def take_back_all(actor: Actor, devices: Collection[int], to: str, reason: str) -> dict[int, list[Assignment]]:
    """End what is open, where the device was not told of it, else let it be told to stop."""
    open_rows = lock_open_assignments(devices)
    rows = [row for group in open_rows.values() for row in group]
    ended = [row for row in rows if row.state != AssignmentState.CANCELLING and row.fetched_at is None]
    fetched = [row for row in rows if row.state == AssignmentState.ASSIGNED and row.fetched_at is not None]
    action = "device.supersede" if to == AssignmentState.SUPERSEDED else "device.cancel_assignment"
    facts: dict[str, Any] = {"message": reason[:2000], "ended_at": timezone.now()}
    change_states(ended, to, actor=actor, action=action, reason=reason, **facts)
    change_states(fetched, AssignmentState.CANCELLING, actor=actor, action=f"{action}_request", reason=reason)
    add_events([*ended, *fetched], reason)
    return open_rows


def quarantine_devices(*, actor: Actor, project: Project, devices: Sequence[Device], reason: str) -> None:
    """`quarantine_device` of locked devices that are active."""
    require(actor, "device.quarantine", project)
    if not devices:
        return
    keys = [device.pk for device in devices]
    change_states(
        devices, DeviceState.QUARANTINED, actor=actor, action="device.quarantine", reason=reason, state_reason=reason
    )
    rows = [row for group in lock_open_assignments(keys).values() for row in group]
    facts: dict[str, Any] = {
        "code": f"device_{DeviceState.QUARANTINED}",
        "message": reason[:2000],
        "ended_at": timezone.now(),
    }
    action = "device.cancel_assignment"
    change_states(rows, AssignmentState.CANCELLED, actor=actor, action=action, reason=reason, **facts)
    add_events(rows, reason, facts["code"])
    bump_generations(keys)
    changes: Counter[Group] = Counter()
    for device in devices:
        changes[DeviceState.ACTIVE, device.running_id or 0] -= 1
        changes[DeviceState.QUARANTINED, device.running_id or 0] += 1
    move_counts(project.pk, changes)
    seal_now()


def add_events(rows: Sequence[Assignment], message: str, code: str = "") -> None:
    """What happened to each, by the state that it is in now."""
    now = timezone.now()
    AssignmentEvent.objects.bulk_create(
        AssignmentEvent(assignment=row, at=now, by_device=False, step=str(row.state), code=code, message=message[:2000])
        for row in rows
    )


def bump_generations(devices: Collection[int]) -> None:
    """Let the next poll of each be answered anew."""
    Device.objects.filter(pk__in=devices).update(generation=F("generation") + 1)
