"""Who needs a second factor, who has one, and what a session has proved of it."""

from __future__ import annotations

import time

from allauth.account.internal.flows.login import get_authentication_records
from allauth.mfa.models import Authenticator
from django.conf import settings
from django.http import HttpRequest

from apps.core.actors import Actor
from apps.core.errors import Refused
from apps.platform.accounts.models import ApiToken
from deepseek.messages import N_

APP, KEY = Authenticator.Type.TOTP.value, Authenticator.Type.WEBAUTHN.value
FACTOR_PURPOSE = "accounts: second factors"  # of the keys that encrypt their secrets
FACTORS = frozenset({APP, KEY})  # recovery codes stand in for one of them and are none themselves
FRESH_SECONDS = 300


def is_factor_required(actor: Actor) -> bool:
    """Whether one of the person's roles is among SECOND_FACTOR_ROLES; no query."""
    if actor.user_id is None:
        return False
    roles = {role for project_roles in actor.project_roles.values() for role in project_roles}
    return bool(settings.SECOND_FACTOR_ROLES.intersection({*roles, actor.system_role}))


def list_factors(user_id: int) -> frozenset[str]:
    """`totp` and `webauthn`, those that the account has; one query."""
    return frozenset(
        Authenticator.objects.filter(user_id=user_id, type__in=FACTORS).values_list("type", flat=True).distinct()
    )


def has_passed_factor(request: HttpRequest) -> bool:
    """Whether a second factor, or a recovery code in its place, was given in this session; no query."""
    return any(record.get("method") == "mfa" for record in get_authentication_records(request, request.user))


def has_touched_key(request: HttpRequest) -> bool:
    """Whether a security key was used in this session within FRESH_SECONDS."""
    return KEY in list_fresh_factors(request)


def list_fresh_factors(request: HttpRequest) -> frozenset[str]:
    """The second factors, and `recovery_codes`, that were given in this session within FRESH_SECONDS; no query."""
    since = time.time() - FRESH_SECONDS
    records = get_authentication_records(request, request.user)
    fresh = (record for record in records if record.get("method") == "mfa" and record.get("at", 0) >= since)
    return frozenset(str(record.get("type", "")) for record in fresh)


def get_proof_page(factors: frozenset[str]) -> str:
    """The name of the page that asks a session for one of these factors."""
    return "mfa_reauthenticate" if APP in factors else "mfa_reauthenticate_webauthn"


def require_factor(actor: Actor, action: str, *, project_id: int | None = None) -> None:
    """Raise Refused `second_factor_missing` where the person's role needs a second factor and the account has none.

    A token that the operator made for one of the first accounts, which nobody has taken over, passes: there is no
    person yet who could have one, and it decides nothing once there is (confirmations.is_deciding_token).
    """
    if actor.user_id is None or not is_factor_required(actor) or list_factors(actor.user_id):
        return
    if actor.token_id is not None:
        first = ApiToken.objects.filter(pk=actor.token_id, created_by=None, user__must_change_password=True)
        if first.exists():
            return
    raise Refused(
        "This account has no second factor, which its role needs.",
        code="second_factor_missing",
        action=action,
        project_id=project_id,
        object_type="user",
        object_id=actor.user_id,
        limit=", ".join(sorted(settings.SECOND_FACTOR_ROLES)),
        hint=N_("Set one up under Account, Second factor."),
    )
