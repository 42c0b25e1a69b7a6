"""Who calls: the device that a TargetToken belongs to, or one that a GatewayToken speaks for.

| tenant in the address | project |
| --- | --- |
| DEFAULT | the one of the token |
| anything else | the token's project must be called so |

Whatever is wrong, the answer is the same 401: of other projects' devices nobody learns anything.
"""

from __future__ import annotations

from typing import NamedTuple

from django.http import HttpRequest
from pydantic import TypeAdapter, ValidationError

from apps.core.actors import Actor
from apps.fleet.devices.authentication import (
    build_device_actor,
    build_enrolment_actor,
    check_refusals,
    count_refusal,
)
from apps.fleet.devices.errors import EnrolmentRefused
from apps.fleet.devices.models import Device, EnrolmentToken
from apps.fleet.devices.schemas import DeviceName
from apps.fleet.devices.services import admit_gateway_device
from apps.fleet.devices.states import DeviceKind, DeviceState
from apps.fleet.devices.tokens import compute_token_digest
from apps.gateways.hawkbit.responses import DdiError, unauthenticated_error
from apps.platform.accounts.actors import get_client_address

DEFAULT_TENANT = "DEFAULT"
NAME = TypeAdapter(DeviceName)


class Caller(NamedTuple):
    actor: Actor
    device: Device


def find_caller(request: HttpRequest, tenant: str, controller: str, *, may_register: bool) -> Caller:
    """The device of this request; DdiError 401 where the token does not open it.

    `may_register`: a gateway's token makes the device where there is none of this name.
    """
    scheme, _, secret = request.META.get("HTTP_AUTHORIZATION", "").partition(" ")
    digest = compute_token_digest(secret)
    device: Device | None = None
    if digest and scheme == "TargetToken":
        device = find_device(tenant, controller, token_digest=digest)
    elif digest and scheme == "GatewayToken":
        device = find_gateway_device(request, tenant, controller, digest, may_register)
    if device is None:
        raise unauthenticated_error()
    request_id = getattr(request, "request_id", "")
    return Caller(build_device_actor(device, address=get_client_address(request), request_id=request_id), device)


def find_device(tenant: str, controller: str, **condition: object) -> Device | None:
    """A stock client of this name that is not revoked. An agent has a key: its word counts only when it is signed."""
    rows = Device.objects.select_related("project", "hawkbit_state").exclude(state=DeviceState.REVOKED)
    device = rows.filter(name=controller, kind=DeviceKind.HAWKBIT, **condition).first()
    return device if device is not None and is_tenant(tenant, device.project.slug) else None


def find_gateway_device(
    request: HttpRequest, tenant: str, controller: str, digest: str, may_register: bool
) -> Device | None:
    """The device that a gateway's token speaks for: none that has a token of its own.

    An expired token lets nothing in any more; for the devices that are there it speaks until it is revoked, or a
    whole fleet would fall silent on one day.
    """
    rows = EnrolmentToken.objects.select_related("project").filter(is_gateway=True, revoked_at=None)
    token = rows.filter(digest=digest).first()
    if token is None or not is_tenant(tenant, token.project.slug):
        return None
    device = find_device(tenant, controller, project=token.project, token_prefix="")
    if device is not None or not may_register or is_taken(token, controller):
        return device
    check_name(controller)
    check_refusals(request)  # of an unknown id alone: the devices that are there go on
    try:
        return admit_gateway_device(actor=build_enrolment_actor(token, request), token=token, name=controller)
    except EnrolmentRefused:  # used up, or expired
        count_refusal(request)
        return None


def is_taken(token: EnrolmentToken, controller: str) -> bool:
    """Whether an agent, or a device with a token of its own, has this name."""
    rows = Device.objects.filter(project=token.project, name=controller)
    return rows.exclude(state=DeviceState.REVOKED).exists()


def is_tenant(tenant: str, slug: str) -> bool:
    """Whether a tenant stands for this project. hawkBit's tenants do not differ by case."""
    return tenant.upper() == DEFAULT_TENANT or tenant.lower() == slug


def check_name(controller: str) -> None:
    try:
        NAME.validate_python(controller)
    except ValidationError:
        raise DdiError(
            400,
            "bad_controller_id",
            "A device's id has 1 to 100 letters, digits, dots, colons, hyphens and underscores; "
            "the first is a letter or a digit.",
        ) from None
