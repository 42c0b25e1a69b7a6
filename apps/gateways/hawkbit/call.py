"""One request of a device."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.http import HttpRequest

from apps.core.actors import Actor
from apps.fleet.devices.models import Device
from apps.gateways.hawkbit.feedback import parse_body


@dataclass(frozen=True, slots=True)
class DdiCall:
    """`root`: the absolute address of the device, which every link begins with."""

    request: HttpRequest
    actor: Actor
    device: Device
    root: str

    def read_body(self) -> dict[str, Any]:
        """The JSON object of the body."""
        return parse_body(self.request.body)
