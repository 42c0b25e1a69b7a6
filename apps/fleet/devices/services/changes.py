"""What people do with a device: quarantine and back, revoke, change what is said of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.db import transaction

from apps.core.actors import Actor
from apps.core.errors import Invalid
from apps.core.policy import require
from apps.fleet.devices.errors import build_state_error
from apps.fleet.devices.models import Device, LabelKind
from apps.fleet.devices.schemas import DeviceChanges
from apps.fleet.devices.services.assignments import end_open_assignments
from apps.fleet.devices.services.counts import move_count
from apps.fleet.devices.services.labels import set_labels
from apps.fleet.devices.services.locks import bump_generation, lock_device
from apps.fleet.devices.states import DeviceKind, DeviceState
from apps.ml.registry.services.validation import check_text
from apps.platform.audit.services import change_state, record, seal_now
from deepseek.messages import N_


def quarantine_device(*, actor: Actor, device: Device, reason: str) -> Device:
    """Give the device nothing more and take its open assignments back; it may go on reporting."""
    require(actor, "device.quarantine", device)
    return move_device(actor, device, DeviceState.QUARANTINED, "device.quarantine", reason)


def reinstate_device(*, actor: Actor, device: Device, reason: str) -> Device:
    """End the quarantine. Conflict `device_state` where there is none."""
    require(actor, "device.reinstate", device)
    if device.state != DeviceState.QUARANTINED:
        raise build_state_error(device)
    return move_device(actor, device, DeviceState.ACTIVE, "device.reinstate", reason)


def revoke_device(*, actor: Actor, device: Device, reason: str) -> Device:
    """Let its token open nothing, for good; its name and key are free again, and its record stays."""
    require(actor, "device.revoke", device)
    return move_device(actor, device, DeviceState.REVOKED, "device.revoke", reason)


def move_device(actor: Actor, device: Device, to: str, action: str, reason: str) -> Device:
    check_text("reason", reason, 500, required=True)
    with transaction.atomic():
        locked = lock_device(device)
        before = locked.state
        if to not in Device.MOVES[before]:
            raise build_state_error(locked)
        change_state(locked, to, actor=actor, action=action, reason=reason, state_reason=reason)
        if to != DeviceState.ACTIVE:
            end_open_assignments(actor, locked, f"device_{to}", reason)
        bump_generation(locked)
        running = locked.running_id or 0
        move_count(locked.project_id, (before, running), (to, running))
        seal_now()
    return locked


def change_device(*, actor: Actor, device: Device, changes: DeviceChanges) -> Device:
    """Change tags, attributes, note, architecture or sampling; what is left out stays."""
    require(actor, "device.change", device)
    fields = changes.model_fields_set
    for name in fields:
        if getattr(changes, name) is None:
            raise Invalid("{name} must not be null.", name=name, field=name, hint=N_("Leave it out to keep it."))
    with transaction.atomic():
        locked = lock_device(device)
        if locked.state == DeviceState.REVOKED:
            raise build_state_error(locked)
        if "architecture" in fields and locked.kind != DeviceKind.HAWKBIT:
            raise Invalid(
                "An agent says its own architecture.", field="architecture", hint=N_("Leave it out to keep it.")
            )
        before, after = apply_changes(locked, changes)
        if after:
            bump_generation(locked)
            record(actor=actor, action="device.change", obj=locked, before=before, after=after)
    return locked


def apply_changes(device: Device, changes: DeviceChanges) -> tuple[dict[str, Any], dict[str, Any]]:
    """(what was, what is) of what really changed."""
    before: dict[str, Any] = {}
    after: dict[str, Any] = {}
    for name, kind in (("tags", LabelKind.TAG), ("attributes", LabelKind.ATTRIBUTE)):
        labels: dict[str, str] | None = getattr(changes, name)
        if labels is not None and (old := set_labels(device, kind, labels)) != labels:
            before[name], after[name] = old, labels
    for name in ("note", "architecture", "sampling_rate"):
        value = getattr(changes, name)
        if value is not None and value != getattr(device, name):
            before[name], after[name] = getattr(device, name), value
            setattr(device, name, value)
    device.save(update_fields=["note", "architecture", "sampling_rate"])
    return before, after


def report_attributes(*, actor: Actor, device: Device, attributes: Mapping[str, str]) -> bool:
    """Keep all that a device says of itself; whether anything changed. No record: it is the device's own word."""
    require(actor, "device.report", device)
    with transaction.atomic():
        locked = lock_device(device)
        return set_labels(locked, LabelKind.ATTRIBUTE, attributes) != dict(attributes)
