"""Devices come in: by an enrolment token with a key of their own, through a gateway, or by hand without a key."""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from django.core.cache import cache
from django.db import IntegrityError, transaction
from django.db.models import F
from django.utils import timezone

from apps.core.actors import Actor
from apps.core.canonical import sha256_hex
from apps.core.errors import Refused
from apps.core.policy import require
from apps.fleet.devices.errors import DeviceExists, EnrolmentRefused
from apps.fleet.devices.models import Device, DeviceTelemetry, EnrolmentToken, LabelKind
from apps.fleet.devices.schemas import DeviceBody, EnrolBody
from apps.fleet.devices.services.counts import move_count
from apps.fleet.devices.services.labels import add_labels
from apps.fleet.devices.states import DeviceKind, DeviceState
from apps.fleet.devices.tokens import DEVICE_PREFIX, generate_secret
from apps.platform.accounts.models import Project
from apps.platform.audit.services import record, record_refusal
from deepseek.messages import Message
from deepseek.signing.errors import SigningError
from deepseek.signing.keys import decode_public_key
from deepseek.signing.statements import verify_enrolment

REPEAT_WITHIN = timedelta(hours=1)
RECORD_EVERY = 60  # seconds between two records of one token's refusals for the same reason


def enrol_device(*, actor: Actor, token: EnrolmentToken, body: EnrolBody) -> tuple[Device, str]:
    """A device with the key that it sends, and its token, which is shown once.

    The same token and key again within an hour give the same device another token: it may have been killed before it
    kept the first. Raises EnrolmentRefused, which is recorded with its reason; DeviceExists.
    """
    require(actor, "device.enrol", token)
    try:
        with transaction.atomic():
            locked = EnrolmentToken.objects.select_for_update().select_related("project").get(pk=token.pk)
            check_proof(body)
            device = find_repeated(locked, body)
            return renew_token(actor, device) if device else admit_agent(actor, locked, body)
    except RefusalReason as refusal:
        record_enrolment_refusal(actor, token, refusal, {"name": body.name})
        raise EnrolmentRefused from None


class RefusalReason(Exception):
    """Why an enrolment is refused: for the audit trail, and not for whoever tried."""

    def __init__(self, code: str, reason: Message) -> None:
        super().__init__(reason)
        self.code, self.reason = code, reason


def record_enrolment_refusal(
    actor: Actor, token: EnrolmentToken, refusal: RefusalReason, after: Mapping[str, Any]
) -> None:
    """Keep that somebody was refused with a token that is known: for each reason once a minute, so that a device that
    polls with a token that is used up floods nothing."""
    if not cache.add(f"devices:enrol:{token.pk}:{refusal.code}", True, RECORD_EVERY):
        return
    about: dict[str, Any] = {"project_id": token.project_id, "object_type": "enrolmenttoken", "object_id": token.pk}
    why = Message("{reason} Tried by {name}.", reason=refusal.reason, name=str(after.get("name", ""))[:100])
    record_refusal(actor, Refused(why, code=EnrolmentRefused.code, action="device.enrol", **about))


def check_proof(body: EnrolBody) -> None:
    """Raise RefusalReason unless whoever sends the key holds its private half, for this name and token."""
    try:
        key = decode_public_key(body.public_key)
        verify_enrolment(body.proof, name=body.name, token=body.token, public_key=key)
    except SigningError as failure:
        raise RefusalReason(failure.code, failure.message) from None


def find_repeated(token: EnrolmentToken, body: EnrolBody) -> Device | None:
    """The device that this token let in a short while ago, by the same key and name."""
    recent = timezone.now() - REPEAT_WITHIN
    rows = Device.objects.select_for_update().exclude(state=DeviceState.REVOKED)
    device = rows.filter(enrolment_token=token, public_key=body.public_key, enrolled_at__gte=recent).first()
    if device is None or token.revoked_at or not hmac.compare_digest(device.name, body.name):
        return None
    return device


def renew_token(actor: Actor, device: Device) -> tuple[Device, str]:
    """Another token for the device; the one before opens nothing any more."""
    secret, device.token_prefix, device.token_digest = generate_secret(DEVICE_PREFIX)
    device.save(update_fields=["token_prefix", "token_digest"])
    record(actor=actor, action="device.renew_token", obj=device, after={"prefix": device.token_prefix})
    return device, secret


def admit_agent(actor: Actor, token: EnrolmentToken, body: EnrolBody) -> tuple[Device, str]:
    use_token(token)
    secret, prefix, digest = generate_secret(DEVICE_PREFIX)
    device = Device(
        project=token.project,
        name=body.name,
        kind=DeviceKind.AGENT,
        architecture=body.architecture,
        public_key=body.public_key,
        token_digest=digest,
        token_prefix=prefix,
        agent_version=body.agent_version,
        enrolment_token=token,
        created_by=actor.label[:200],
    )
    store_device(device, tags=token.tags, attributes=body.attributes)
    after = {"name": device.name, "kind": device.kind, "architecture": device.architecture, "tags": token.tags}
    digests = {"public_key": sha256_hex(body.public_key)}
    record(actor=actor, action="device.enrol", obj=device, after={**after, "token": token.pk}, digests=digests)
    return device, secret


def admit_gateway_device(
    *, actor: Actor, token: EnrolmentToken, name: str, attributes: Mapping[str, str] | None = None
) -> Device:
    """A hawkBit client that a gateway's token lets in with its first poll; the token speaks for it from then on.

    One of this name that is there already is returned: two first polls may come at once. Raises EnrolmentRefused,
    DeviceExists where the name is another kind's.
    """
    require(actor, "device.enrol", token)
    try:
        with transaction.atomic():
            locked = EnrolmentToken.objects.select_for_update().select_related("project").get(pk=token.pk)
            rows = Device.objects.filter(project=locked.project, name=name).exclude(state=DeviceState.REVOKED)
            if (device := rows.first()) is not None:
                if device.kind != DeviceKind.HAWKBIT:
                    raise DeviceExists(name)
                return device
            use_token(locked)
            device = Device(
                project=locked.project,
                name=name,
                kind=DeviceKind.HAWKBIT,
                token_digest=generate_secret(DEVICE_PREFIX)[2],  # of a secret that nobody has: the gateway's speaks
                enrolment_token=locked,
                created_by=actor.label[:200],
            )
            store_device(device, tags=locked.tags, attributes=attributes or {})
            after = {"name": name, "kind": device.kind, "tags": locked.tags, "token": locked.pk}
            record(actor=actor, action="device.enrol", obj=device, after=after)
            return device
    except RefusalReason as refusal:
        record_enrolment_refusal(actor, token, refusal, {"name": name})
        raise EnrolmentRefused from None


def use_token(token: EnrolmentToken) -> None:
    """Count a use of a locked token. Raises RefusalReason where it has none left."""
    if token.revoked_at is not None:
        raise RefusalReason("revoked", Message("The token is revoked."))
    if token.expires_at <= timezone.now():
        raise RefusalReason("expired", Message("The token has expired."))
    if token.uses >= token.max_uses:
        raise RefusalReason("used_up", Message("The token is used up."))
    EnrolmentToken.objects.filter(pk=token.pk).update(uses=F("uses") + 1)


def register_device(*, actor: Actor, project: Project, body: DeviceBody) -> tuple[Device, str]:
    """A device of a stock hawkBit client, made by hand, and its token, which is shown once. Raises DeviceExists."""
    require(actor, "device.register", project)
    secret, prefix, digest = generate_secret(DEVICE_PREFIX)
    device = Device(
        project=project,
        name=body.name,
        kind=DeviceKind.HAWKBIT,
        architecture=body.architecture or "",
        token_digest=digest,
        token_prefix=prefix,
        note=body.note,
        created_by=actor.label[:200],
    )
    with transaction.atomic():
        store_device(device, tags=body.tags, attributes={})
        after = {"name": device.name, "kind": device.kind, "tags": body.tags, "prefix": prefix}
        record(actor=actor, action="device.register", obj=device, after=after)
    return device, secret


def store_device(device: Device, *, tags: Mapping[str, str], attributes: Mapping[str, str]) -> None:
    """Write a new device with what belongs to it. Within a transaction; raises DeviceExists."""
    try:
        with transaction.atomic():
            device.save(force_insert=True)
    except IntegrityError:
        raise DeviceExists(device.name) from None
    DeviceTelemetry.objects.create(device=device, project_id=device.project_id)
    add_labels(device, LabelKind.TAG, tags)
    add_labels(device, LabelKind.ATTRIBUTE, attributes)
    move_count(device.project_id, None, (device.state, 0))
