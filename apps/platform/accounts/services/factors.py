"""Second factors that somebody else sets: a lost one is taken away; the operator sets up that of a first account."""

from __future__ import annotations

from allauth.mfa.models import Authenticator
from allauth.mfa.recovery_codes.internal.auth import RecoveryCodes
from allauth.mfa.totp.internal.auth import TOTP, generate_totp_secret
from django.db import transaction

from apps.core import policy
from apps.core.actors import Actor
from apps.core.errors import Conflict
from apps.platform.accounts.confirmations import require_confirmed
from apps.platform.accounts.factors.requirements import APP, list_factors
from apps.platform.accounts.models import User
from apps.platform.accounts.row_operations import end_sessions, lock_row
from apps.platform.accounts.services.people import refuse_oneself
from apps.platform.audit.services import record, seal_now
from deepseek.messages import N_, Message


def reset_second_factor(*, actor: Actor, user: User, reason: str = "") -> User:
    """Take away every second factor of a person who has lost it, and their recovery codes; their sessions end.

    Nobody gains access by it: the password stays the person's own, and whoever resets passwords (the system
    administrator) is not who takes factors away (the security administrator). The person sets up another one at the
    next log-in. Refused for one's own account; Conflict `nothing_to_change` where there is none.
    """
    policy.require(actor, "user.reset_second_factor", user)
    require_confirmed(actor, "user.reset_second_factor")
    refuse_oneself(
        actor, user, "user.reset_second_factor", Message("Another security administrator takes away your factor.")
    )
    with transaction.atomic():
        user = lock_row(user)
        factors = Authenticator.objects.filter(user=user)
        types = sorted(factors.values_list("type", flat=True))
        if not types:
            raise Conflict(
                "{user_username} has no second factor.",
                user_username=user.username,
                code="nothing_to_change",
                field="/user",
            )
        factors.delete()
        record(
            actor=actor,
            action="user.reset_second_factor",
            obj=user,
            reason=reason,
            before={"factors": types},
            after={"factors": [], "sessions_ended": end_sessions(user)},
        )
        seal_now()
    return user


def set_up_second_factor(*, actor: Actor, user: User) -> str:
    """The secret (base32) of an authenticator app for a first account; it is made now, and shown this once.

    Only while nobody has taken the account over: afterwards the operator would know a factor that decides.
    Conflict `not_a_first_account`, `second_factor_exists`.
    """
    policy.require(actor, "user.set_up_second_factor", user)
    secret: str = generate_totp_secret()
    with transaction.atomic():
        user = lock_row(user)
        if not user.must_change_password:
            raise Conflict(
                "{user_username} has logged in: the person sets up a second factor.",
                user_username=user.username,
                code="not_a_first_account",
                field="/user",
                hint=N_("Under Account, Second factor."),
            )
        if list_factors(user.pk):
            raise Conflict(
                "{user_username} has a second factor already.",
                user_username=user.username,
                code="second_factor_exists",
                field="/user",
            )
        TOTP.activate(user, secret)
        RecoveryCodes.activate(user)
        record(actor=actor, action="user.set_up_second_factor", obj=user, after={"type": APP})
    return secret
