"""What a poll is answered: one query where nothing has changed. Without a framework: the fast path calls it as it is.

The ETag counts everything that the answer is made of, so an answer that would be the same is not made.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django.urls import reverse

from apps.core.errors import PlaneError
from apps.fleet.devices.authentication import (
    build_device_actor,
    build_revoked_error,
    build_unknown_error,
    parse_device_token,
    record_revoked_use,
)
from apps.fleet.devices.lookups import find_polling_device
from apps.fleet.devices.models import Assignment, Device
from apps.fleet.devices.queries import get_offered_assignment, get_poll_seconds
from apps.fleet.devices.services import ensure_source, mark_fetched, note_poll
from apps.fleet.devices.states import AssignmentState, DeviceState


@dataclass(frozen=True, slots=True)
class PollAnswer:
    """`document` is None where nothing has changed (304)."""

    etag: str
    document: dict[str, Any] | None


def answer_poll(authorization: str, known_etag: str, *, address: str = "", request_id: str = "") -> PollAnswer:
    """The answer to a device that has the answer `known_etag`. Raises Unauthenticated `device_unknown`,
    `device_revoked`."""
    row = find_polling_device(parse_device_token(authorization))
    if row is None:
        raise build_unknown_error()
    device_id, state, generation, keys_version = row
    if state == DeviceState.REVOKED:
        record_revoked_use(Device.objects.get(pk=device_id), address=address, request_id=request_id)
        raise build_revoked_error()
    note_poll(device_id)
    etag = f'"{device_id}-{generation}-{keys_version or 0}-{get_poll_seconds()}"'
    if known_etag == etag:
        return PollAnswer(etag, None)
    return PollAnswer(etag, build_document(device_id, keys_version or 0, address))


def build_document(device_id: int, keys_version: int, address: str) -> dict[str, Any]:
    rows = Device.objects.select_related("project", "source", "running__variant__version")
    device = rows.get(pk=device_id)
    return {
        "state": device.state,
        "poll_seconds": get_poll_seconds(),
        "keys_version": keys_version,
        "assignment": describe_assignment(device) if device.state == DeviceState.ACTIVE else None,
        "observations": describe_observations(device, address),
    }


def describe_assignment(device: Device) -> dict[str, Any] | None:
    """What the device is to do, and that it was told. None where it was taken back at this moment."""
    assignment = get_offered_assignment(device)
    if assignment is None or not mark_fetched(assignment):
        return None
    return {
        "id": str(assignment.pk),
        "action": "cancel" if assignment.state == AssignmentState.CANCELLING else "install",
        "release": json.loads(assignment.release.envelope),
        "provenance": json.loads(assignment.release.provenance) if assignment.release.provenance else None,
        "files": list_files(assignment),
        "deadline": assignment.deadline.isoformat() if assignment.deadline else None,
    }


def list_files(assignment: Assignment) -> list[dict[str, Any]]:
    return [
        {
            "name": file.name,
            "size": file.size,
            "sha256": file.artifact_id,
            "href": reverse("agent-file", kwargs={"digest": file.artifact_id}),
        }
        for file in assignment.release.files.order_by("name")
    ]


def describe_observations(device: Device, address: str) -> Mapping[str, Any] | None:
    """Where to send predictions; None where none are wanted, or nothing runs yet."""
    if not device.sampling_rate or device.running is None or device.state != DeviceState.ACTIVE:
        return None
    try:
        source = ensure_source(actor=build_device_actor(device, address=address), device=device)
    except PlaneError:  # its name is taken: the poll must not fail for it
        return None
    return {"source": source.name, "task": source.task, "sampling_rate": device.sampling_rate}
