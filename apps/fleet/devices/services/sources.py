"""The source of a device's observations: made when it first has something to send."""

from __future__ import annotations

import re

from apps.core.actors import Actor
from apps.core.errors import Conflict
from apps.core.policy import require
from apps.fleet.devices.models import Device
from apps.ml.endpoints.services.requests import TASKS
from apps.ml.observations.models import ObservationSource
from apps.ml.observations.schemas import SourceBody
from apps.ml.observations.services import create_source
from deepseek.messages import N_

NAME_LENGTH = 50


def ensure_source(*, actor: Actor, device: Device) -> ObservationSource:
    """The device's own source. Raises Conflict `nothing_runs` for a device that no receipt has come from."""
    require(actor, "device.report", device)
    if device.source is not None:
        return device.source
    if device.running is None:
        raise Conflict(
            "No receipt of the device {name} has come.",
            name=device.name,
            code="nothing_runs",
            field="rows",
            hint=N_("Send the receipt of the release that answers first."),
        )
    task = TASKS.get(device.running.variant.version.task, "other")
    for name in list_names(device):
        try:
            source = create_source(
                actor=actor, project=device.project, body=SourceBody(name=name, kind="device", task=task)
            )
        except Conflict:
            continue
        break
    else:
        raise Conflict("The source {name} is another's.", name=name, code="source_exists", field="source")
    if not Device.objects.filter(pk=device.pk, source=None).update(source=source):
        device.refresh_from_db()  # another request was faster
    device.source = device.source or source
    return device.source


def list_names(device: Device) -> list[str]:
    """The device's name as sources are named, and one that no other device has."""
    name = re.sub(r"[^a-z0-9]+", "-", device.name.lower()).strip("-")[:NAME_LENGTH].strip("-") or "device"
    suffix = f"-{device.pk}"
    return [name, name[: NAME_LENGTH - len(suffix)] + suffix]
