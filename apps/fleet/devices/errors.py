"""Refusals that more than one module of devices makes."""

from __future__ import annotations

from apps.core.errors import Conflict, Unauthenticated
from apps.fleet.devices.models import Assignment, Device
from deepseek.messages import N_


class EnrolmentRefused(Unauthenticated):
    """An enrolment token that opens nothing, or a wrong proof. Whoever sends it does not learn which."""

    code = "enrolment_refused"

    def __init__(self) -> None:
        super().__init__(
            "The enrolment is refused.",
            field="token",
            limit="a token that is known, not used up, not expired, and a proof by the key that is sent",
            hint=N_("Ask for another enrolment token; the audit trail of the plane has the reason."),
        )


class DeviceExists(Conflict):
    """The name or the key belongs to another device."""

    code = "device_exists"

    def __init__(self, name: str, field: str = "name") -> None:
        super().__init__(
            "There is a device {name!r} already, or one with this key.",
            name=name,
            field=field,
            limit="a name and a key that no other device has",
            hint=N_("Choose another name, or revoke that device first."),
        )


def build_closed_error(assignment: Assignment) -> Conflict:
    return Conflict(
        "The assignment {number} has ended: {state}.",
        number=assignment.pk,
        state=assignment.state,
        code="assignment_closed",
        field="state",
        hint=N_("Poll: another may be open."),
    )


def build_state_error(device: Device) -> Conflict:
    return Conflict(
        "The device {name} is {state}.",
        name=device.name,
        state=device.state,
        code="device_state",
        field="state",
        hint=N_("Read it again and decide anew."),
    )
