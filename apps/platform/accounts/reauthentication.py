"""That it is really this person, now: asked again before what must not happen from a screen left open.

The proof travels with the very request that it is for, in the same form. allauth's page of re-authentication would
remember that request and send it afterwards, even one that was replaced since.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from allauth.core.internal.ratelimit import RateLimitUsage
from django.conf import settings
from django.contrib.auth import authenticate
from django.http import HttpRequest
from django.urls import reverse

from apps.core import policy
from apps.core.actors import Actor
from apps.core.errors import Invalid, Refused, TooMany
from apps.platform.accounts.factors.forms import RepeatedCodeForm
from apps.platform.accounts.factors.requirements import (
    APP,
    KEY,
    get_proof_page,
    has_touched_key,
    list_factors,
    list_fresh_factors,
    require_factor,
)
from apps.platform.accounts.lockout import clear_failures, consume_limits
from deepseek.messages import N_, Message

PASSWORD, PASSWORD_AND_CODE, PASSWORD_AND_KEY, TOKEN = "password", "password+code", "password+key", "token"


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """`method`: password, password+code, password+key, or token: one of the person's own, which a program holds by
    their will."""

    user_id: int
    method: str


def require_proof(request: HttpRequest, actor: Actor, *, password: str = "", code: str = "") -> Proof:
    """The proof that `actor` is there now; a wrong password or code counts towards the lock-out as at the log-in.

    A code travels with the request; a security key was used in this session within five minutes. Refused for what is
    no person, and `second_factor_missing` where the role needs a factor; Invalid at /password or /code; TooMany when
    the account is locked.
    """
    if actor.user_id is None:
        raise Refused("Only a person can do this.", code="not_a_person", action="user.prove")
    require_factor(actor, "user.prove")
    if actor.token_id is not None:
        return Proof(user_id=actor.user_id, method=TOKEN)
    usage = check_password(request, actor, password)
    method = check_factor(request, list_factors(actor.user_id), code)
    if usage is not None:
        usage.rollback()
    clear_failures(request, actor.label)
    return Proof(user_id=actor.user_id, method=method)


def require_fresh_factor(request: HttpRequest, actor: Actor, scopes: Iterable[str]) -> None:
    """Before a token that decides is created: it decides without any further proof, so that a screen left open must not
    create one. Refused `factor_not_fresh` where the account has a second factor and the session has not given it within
    five minutes."""
    if policy.DECIDING_SCOPES.intersection(scopes):
        refuse_old_factor(
            request, actor, "token.create", N_("Give your second factor again: this token decides without it.")
        )


def require_fresh_decision(request: HttpRequest, actor: Actor, action: str) -> None:
    """Before an administrator gives rights to others: the second factor was given in this session within five minutes.
    Refused `factor_not_fresh`, and `second_factor_missing` where the role needs one and the account has none."""
    require_factor(actor, action)
    refuse_old_factor(request, actor, action, N_("Give your second factor again: this gives rights to others."))


def refuse_old_factor(request: HttpRequest, actor: Actor, action: str, message: str) -> None:
    if actor.user_id is None or list_fresh_factors(request):
        return
    factors = list_factors(actor.user_id)
    if factors:
        address = reverse(get_proof_page(factors))
        raise Refused(
            message,
            code="factor_not_fresh",
            action=action,
            object_type="user",
            object_id=actor.user_id,
            limit="five minutes",
            hint=Message("Open {address}, then try again.", address=address),
        )


def list_proof_factors(actor: Actor) -> frozenset[str]:
    """The second factors that the person at this browser may prove themselves by."""
    if actor.user_id is None or actor.token_id is not None:
        return frozenset()
    return list_factors(actor.user_id)


def check_factor(request: HttpRequest, factors: frozenset[str], code: str) -> str:
    """The method of the proof, with the second factor where the account has one."""
    if not factors:
        return PASSWORD
    if KEY in factors and not code and has_touched_key(request):
        return PASSWORD_AND_KEY
    if APP not in factors and not code:
        raise Invalid(
            "Use your security key first.",
            code="key_missing",
            field="/code",
            hint=N_("It counts for five minutes. Or give a recovery code."),
        )
    check_code(request, code)
    return PASSWORD_AND_CODE


def check_password(request: HttpRequest, actor: Actor, password: str) -> RateLimitUsage | None:
    """What to roll back of the limits once the whole proof holds."""
    if not password:
        raise Invalid("Give your password again.", code="password_missing", field="/password")
    allowed, usage = consume_limits(request, {"username": actor.label})
    if not allowed:
        raise TooMany(
            "Too many wrong passwords for your account, or from this address.",
            code="account_locked",
            field="/password",
            limit=settings.LOG_IN_LIMITS,
            hint=N_("Try again in 30 minutes, or in a browser in which you have logged in."),
        )
    user = authenticate(request, username=actor.label, password=password)
    if user is not None and user.pk == actor.user_id:
        return usage
    if getattr(request, "axes_locked_out", False):
        raise build_lockout_error(request)
    raise Invalid("This is not your password.", code="password_wrong", field="/password", hint=N_("Type it again."))


def build_lockout_error(request: HttpRequest) -> TooMany:
    # Or its middleware would replace our answer by the log-in page's.
    request.axes_locked_out = False  # type: ignore[attr-defined]
    return TooMany(
        "Too many wrong passwords or codes: your account is locked.",
        code="account_locked",
        field="/password",
        limit=settings.AXES_FAILURE_LIMIT,
        hint=Message("Try again in {lockout_minutes} minutes.", lockout_minutes=settings.ENV.lockout_minutes),
    )


def check_code(request: HttpRequest, code: str) -> None:
    """A code of the authenticator app that was not used before, or a recovery code; allauth limits the guesses."""
    if not code:
        raise Invalid("Give the code of your authenticator app.", code="code_missing", field="/code", limit="6 digits")
    form = RepeatedCodeForm(data={"code": code[:40]}, user=request.user)
    if form.is_valid():
        form.authenticator.record_usage()
        return
    if getattr(request, "axes_locked_out", False):
        raise build_lockout_error(request)
    if form.has_error("code", "too_many_login_attempts"):
        raise TooMany("Too many wrong codes.", code="account_locked", field="/code", hint=N_("Wait five minutes."))
    raise Invalid(
        "This code is wrong, or was used before.", code="code_wrong", field="/code", hint=N_("Wait for the next one.")
    )
