"""Tokens by which devices enrol: made by people, shown once, revoked."""

from __future__ import annotations

from datetime import timedelta

from django.db import transaction
from django.utils import timezone

from apps.core.actors import Actor
from apps.core.errors import Conflict, Invalid
from apps.core.policy import require
from apps.fleet.devices.models import EnrolmentToken
from apps.fleet.devices.schemas import EnrolmentTokenBody
from apps.fleet.devices.tokens import ENROLMENT_PREFIX, generate_secret
from apps.platform.accounts.models import Project
from apps.platform.accounts.validation import check_fields
from apps.platform.audit.services import record, seal_now
from deepseek.messages import N_

DEFAULT_GATEWAY_USES = 1_000


def create_enrolment_token(*, actor: Actor, project: Project, body: EnrolmentTokenBody) -> tuple[EnrolmentToken, str]:
    """A token and its secret, which is shown once. Raises Invalid for a number of uses without a gateway."""
    require(actor, "device.create_enrolment_token", project)
    if body.max_uses not in (None, 1) and not body.gateway:
        raise Invalid(
            "A token for one device has no {count} uses.",
            count=body.max_uses,
            field="/max_uses",
            limit=1,
            hint=N_("Make a gateway's token, or leave the number out."),
        )
    secret, prefix, digest = generate_secret(ENROLMENT_PREFIX)
    token = EnrolmentToken(
        project=project,
        name=body.name.strip(),
        prefix=prefix,
        digest=digest,
        is_gateway=body.gateway,
        max_uses=(body.max_uses or DEFAULT_GATEWAY_USES) if body.gateway else 1,
        tags=body.tags,
        expires_at=timezone.now() + timedelta(days=body.days),
        created_by=actor.label[:200],
    )
    check_fields(token, "name")
    with transaction.atomic():
        token.save()
        after = {
            "name": token.name,
            "prefix": prefix,
            "gateway": token.is_gateway,
            "max_uses": token.max_uses,
            "expires_at": token.expires_at.isoformat(),
            "tags": token.tags,
        }
        record(actor=actor, action="device.create_enrolment_token", obj=token, after=after)
    return token, secret


def revoke_enrolment_token(*, actor: Actor, token: EnrolmentToken, reason: str = "") -> EnrolmentToken:
    """Let nothing more in by it; devices that it let in stay. Conflict `already_revoked`."""
    require(actor, "device.revoke_enrolment_token", token)
    with transaction.atomic():
        now = timezone.now()
        if not EnrolmentToken.objects.filter(pk=token.pk, revoked_at=None).update(revoked_at=now):
            raise Conflict("The token {prefix}... is already revoked.", prefix=token.prefix, code="already_revoked")
        token.revoked_at = now
        after = {"name": token.name, "prefix": token.prefix, "uses": token.uses}
        record(actor=actor, action="device.revoke_enrolment_token", obj=token, reason=reason, after=after)
        seal_now()
    return token
