"""Who sends a device's token or an enrolment token. Nothing else of the plane takes these, and these take no others."""

from __future__ import annotations

from typing import Any

from allauth.core.internal.ratelimit import consume
from django.core.cache import cache
from django.http import HttpRequest
from rest_framework.authentication import BaseAuthentication
from rest_framework.request import Request

from apps.core.actors import Actor, DeviceRole
from apps.core.errors import Refused, TooMany, Unauthenticated
from apps.fleet.devices.errors import EnrolmentRefused
from apps.fleet.devices.models import Device, EnrolmentToken
from apps.fleet.devices.states import DeviceState
from apps.fleet.devices.tokens import compute_token_digest
from apps.platform.accounts.actors import get_client_address
from apps.platform.audit.services import record_refusal
from deepseek.messages import N_, Message

ENROLMENT_LIMITS = {"enrol": "60/5m/ip"}  # refused enrolments of one address
REPORT_LIMITS = {"receipt": "60/m/key", "heartbeat": "60/m/key"}  # of one device
RECORD_EVERY = 60  # seconds between two records of one device's revoked token
SEND_A_TOKEN = N_("Authorization: Bearer <token>")


class DeviceAuthentication(BaseAuthentication):
    """`Authorization: Bearer dsd_...`: `request.user` is the device."""

    def authenticate(self, request: Request) -> tuple[Device, None]:
        device = authenticate_device(request._request)
        request._request.actor = build_request_actor(device, request._request)  # type: ignore[attr-defined]
        return device, None

    def authenticate_header(self, request: Request) -> str:
        return 'Bearer realm="devices"'


def parse_device_token(header: str) -> str:
    """The digest of the token in an Authorization header. Raises Unauthenticated `device_unknown`."""
    scheme, _, secret = header.partition(" ")
    digest = compute_token_digest(secret.strip()) if scheme.lower() == "bearer" else ""
    if not digest:
        raise build_unknown_error()
    return digest


def authenticate_device(request: HttpRequest) -> Device:
    """The device whose token the request brings. Raises Unauthenticated `device_unknown` or `device_revoked`."""
    digest = parse_device_token(request.META.get("HTTP_AUTHORIZATION", ""))
    rows = Device.objects.select_related("project", "source", "running__variant__version")
    device = rows.filter(token_digest=digest).first()
    if device is None:
        raise build_unknown_error()
    if device.state == DeviceState.REVOKED:
        record_revoked_use(device, address=get_client_address(request), request_id=getattr(request, "request_id", ""))
        raise build_revoked_error()
    return device


def build_unknown_error() -> Unauthenticated:
    return Unauthenticated(
        "There is no device with this token.",
        code="device_unknown",
        field="Authorization",
        limit="the token that the enrolment gave",
        hint=SEND_A_TOKEN,
    )


def build_revoked_error() -> Unauthenticated:
    return Unauthenticated(
        "This device is revoked.",
        code="device_revoked",
        field="Authorization",
        limit="a device that is not revoked",
        hint=N_("Enrol it anew, if it should be one again."),
    )


def record_revoked_use(device: Device, *, address: str = "", request_id: str = "") -> None:
    """Keep that a revoked device goes on sending its token: once a minute, so that it floods nothing."""
    if not cache.add(f"devices:revoked:{device.pk}", True, RECORD_EVERY):
        return
    actor = build_device_actor(device, address=address, request_id=request_id)
    about: dict[str, Any] = {"project_id": device.project_id, "object_type": "device", "object_id": device.pk}
    why = Message("The token of the revoked device {name} was sent.", name=device.name)
    record_refusal(actor, Refused(why, code="device_revoked", action="device.report", **about))


def limit_reports(request: HttpRequest, device: Device, action: str) -> None:
    """Count a receipt or a heartbeat of the device. Raise TooMany for more in a minute than any agent has to send."""
    if consume(request, app="devices", action=action, config=REPORT_LIMITS, key=str(device.pk)) is None:
        raise TooMany(
            "The device {name} reports too often.",
            name=device.name,
            limit="60 in a minute",
            hint=N_("Wait a minute, and look at the device."),
        )


def build_request_actor(device: Device, request: HttpRequest) -> Actor:
    return build_device_actor(
        device, address=get_client_address(request), request_id=getattr(request, "request_id", "")
    )


def build_device_actor(device: Device, *, address: str = "", request_id: str = "") -> Actor:
    """A device in its own project."""
    return Actor(
        kind="device",
        label=device.name,
        project_roles={device.project_id: frozenset({DeviceRole.DEVICE})},
        address=address,
        request_id=request_id,
        device_id=device.pk,
    )


# -- enrolment ------------------------------------------------------------------------------------------------------
def find_enrolment_token(request: HttpRequest, secret: Any) -> tuple[EnrolmentToken, Actor]:
    """The token of this secret, usable or not, and the actor that sends it.

    Raises EnrolmentRefused, and TooMany for an address that was refused too often.
    """
    check_refusals(request)
    digest = compute_token_digest(secret) if isinstance(secret, str) else ""
    token = EnrolmentToken.objects.select_related("project").filter(digest=digest).first() if digest else None
    if token is None:
        count_refusal(request)
        raise EnrolmentRefused
    return token, build_enrolment_actor(token, request)


def build_enrolment_actor(token: EnrolmentToken, request: HttpRequest | None = None) -> Actor:
    return Actor(
        kind="enrolment",
        label=f"enrolment:{token.prefix}",
        project_roles={token.project_id: frozenset({DeviceRole.ENROLMENT})},
        address=get_client_address(request) if request is not None else "",
        request_id=getattr(request, "request_id", ""),
    )


def check_refusals(request: HttpRequest) -> None:
    """Raise TooMany for an address whose enrolments were refused too often lately."""
    # `limit_get`: a stock client enrols with its first poll.
    if consume(request, app="devices", action="enrol", config=ENROLMENT_LIMITS, dry_run=True, limit_get=True) is None:
        raise TooMany(
            "Too many enrolments were refused from this address.",
            field="token",
            limit="60 in 5 minutes",
            hint=N_("Wait five minutes, and look at the token."),
        )


def count_refusal(request: HttpRequest) -> None:
    consume(request, app="devices", action="enrol", config=ENROLMENT_LIMITS, limit_get=True)
