"""Who is asking: a bearer token, or a browser's session. For REST views and for plain ones that stream."""

from __future__ import annotations

import base64
import logging
from collections.abc import Callable
from datetime import timedelta
from functools import wraps
from typing import Any, TypeGuard

from django.contrib.auth.decorators import login_not_required
from django.db import Error as AnyDatabaseError
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.utils import timezone
from django.views.decorators.csrf import csrf_exempt
from rest_framework.authentication import BaseAuthentication, CSRFCheck, SessionAuthentication
from rest_framework.request import Request

from apps.core.actors import Actor
from apps.core.canonical import sha256_hex
from apps.core.errors import PlaneError, Refused, Unauthenticated
from apps.platform.accounts.actors import build_actor_for_token, build_actor_for_user, get_client_address
from apps.platform.accounts.credentials import TOKEN_PREFIX
from apps.platform.accounts.models import ApiToken, ServiceAccount, User
from apps.platform.accounts.networks import require_admin_network
from apps.platform.accounts.passwords import needs_new_password
from apps.platform.accounts.token_holders import record_session_holder
from apps.platform.audit.services import record_refusal
from deepseek.messages import N_, Message

log = logging.getLogger(__name__)
LAST_USED_EVERY = timedelta(minutes=1)
SCHEMES = ("bearer", "token", "basic")
SEND_A_TOKEN = Message("Authorization: Bearer <token>")


class PasswordChangeRequired(PlaneError):
    """A one-time password, or one that is too old, opens nothing but the page that replaces it."""

    status = 403
    code = "password_change_required"

    def __init__(self) -> None:
        super().__init__(
            "Your password is for one use, or too old: replace it first.",
            field="password",
            hint="Open /accounts/password/change/.",
        )


class CsrfFailed(Refused):
    """A write by session without the page's CSRF token: perhaps another site's, in the person's name."""

    code = "csrf_failed"


class TokenAuthentication(BaseAuthentication):
    """`Authorization: Bearer <token>`, also `Token <token>`, and Basic with the token as password (git, pip)."""

    def authenticate(self, request: Request) -> tuple[User | ServiceAccount, ApiToken] | None:
        token = find_token(request._request)
        if token is None:
            return None
        request._request.actor = get_token_actor(request._request, token)  # type: ignore[attr-defined]
        owner = token.user or token.service_account
        assert owner is not None  # noqa: S101 - a constraint of the table
        return owner, token

    def authenticate_header(self, request: Request) -> str:
        return 'Bearer realm="api"'


class BrowserSession(SessionAuthentication):
    """The session cookie, with the CSRF token on every unsafe method."""

    def authenticate(self, request: Request) -> tuple[User, None] | None:
        user = getattr(request._request, "user", None)
        if not is_person(user):
            return None
        request._request.actor = get_session_actor(request._request)  # type: ignore[attr-defined]
        return user, None


def authenticate_request(request: HttpRequest) -> Actor:
    """The actor of a plain view, by token or session; also set as `request.actor`. Unauthenticated if neither."""
    token = find_token(request)
    actor = get_token_actor(request, token) if token else get_session_actor(request)
    request.actor = actor  # type: ignore[attr-defined]
    return actor


def accept_token_or_session(view: Callable[..., HttpResponseBase]) -> Callable[..., HttpResponseBase]:
    """Decorator of plain views (uploads, downloads, event streams) that programs and browsers both ask.

    It does its own check of log-in and CSRF: the middleware would send a program to the log-in page.
    """

    @csrf_exempt
    @login_not_required
    @wraps(view)
    def checked(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        authenticate_request(request)
        return view(request, *args, **kwargs)

    return checked


def get_session_actor(request: HttpRequest) -> Actor:
    """The actor of the session; Unauthenticated, CsrfFailed, or PasswordChangeRequired."""
    user = request.user
    if not is_person(user):
        raise Unauthenticated("Log in or send a token.", hint=SEND_A_TOKEN)
    check_csrf(request)
    if needs_new_password(user):
        raise PasswordChangeRequired
    present: Actor | None = getattr(request, "actor", None)
    if present is not None and present.user_id == user.pk and present.scopes is None:
        return present
    return build_actor_for_user(
        user, address=get_client_address(request), request_id=getattr(request, "request_id", "")
    )


def is_person(user: Any) -> TypeGuard[User]:
    """Somebody is logged in; `user` may be Django's lazy wrapper, so no isinstance."""
    return bool(getattr(user, "is_authenticated", False) and hasattr(user, "must_change_password") and user.has_access)


def check_csrf(request: HttpRequest) -> None:
    """Django's own check, which a view that takes tokens is exempt from; safe methods pass."""
    check = CSRFCheck(return_nothing)
    check.process_request(request)
    reason = check.process_view(request, return_nothing, (), {})
    if reason:
        raise CsrfFailed(
            "The CSRF check failed: {reason}",
            reason=reason,
            action="session.write",
            field="X-CSRFToken",
            hint=N_("Send the header X-CSRFToken, or a token."),
        )


def return_nothing(request: HttpRequest) -> HttpResponse:
    """Stands for the view in Django's check, which asks a view whether it is exempt."""
    return HttpResponse()


def find_token(request: HttpRequest) -> ApiToken | None:
    """The token of the Authorization header, checked; None when there is no such header.

    One query. Raises Unauthenticated with the codes token_malformed, token_unknown, token_revoked, token_expired,
    account_disabled: only who holds the secret learns which.
    """
    secret = parse_secret(request.headers.get("Authorization", ""))
    if secret is None:
        return None
    token = ApiToken.objects.select_related("user", "service_account").filter(digest=sha256_hex(secret)).first()
    if token is None:
        raise build_unauthenticated("token_unknown", Message("There is no such token."))
    why = find_token_defect(token)
    if why is not None:
        record_token_misuse(request, token, why)
        raise why
    return token


def find_token_defect(token: ApiToken) -> Unauthenticated | None:
    """Why a known token is worthless now; None when it is good."""
    if token.revoked_at:
        return build_unauthenticated("token_revoked", Message("The token {prefix}... is revoked.", prefix=token.prefix))
    if token.expires_at <= timezone.now():
        return build_unauthenticated(
            "token_expired",
            Message("The token {prefix}... has expired.", prefix=token.prefix),
            limit=token.expires_at.isoformat(),
        )
    owner = token.user or token.service_account
    if owner is None or not owner.has_access:
        return build_unauthenticated(
            "account_disabled", Message("The account of this token is disabled."), hint=Message("Ask an administrator.")
        )
    return None


def parse_secret(header: str) -> str | None:
    """The token in an Authorization header, None for an empty one.

    Of Basic credentials it is the password, or the name where a token stands there (https://TOKEN@host/). Of two values
    in one header, as git-lfs joins its own and the user's, the first counts.
    """
    if not header:
        return None
    scheme, _, value = header.partition(",")[0].strip().partition(" ")
    if scheme.lower() not in SCHEMES or not value:
        raise build_unauthenticated(
            "token_malformed", Message("The Authorization header is not understood."), limit="Bearer, Basic, Token"
        )
    value = value.strip()
    if scheme.lower() != "basic":
        return value
    try:
        name, _, secret = base64.b64decode(value, validate=True).decode().partition(":")
    except ValueError:  # no base64, not UTF-8, or a header that is not even ASCII
        raise build_unauthenticated("token_malformed", Message("The Basic credentials cannot be read.")) from None
    return name if name.startswith(TOKEN_PREFIX) and not secret.startswith(TOKEN_PREFIX) else secret


def build_unauthenticated(code: str, message: str, *, limit: Any = None, hint: str = SEND_A_TOKEN) -> Unauthenticated:
    return Unauthenticated(message, code=code, field="Authorization", limit=limit, hint=hint)


def get_token_actor(request: HttpRequest, token: ApiToken) -> Actor:
    address = get_client_address(request)
    record_token_use(token, address)
    if token.service_account is not None:
        record_session_holder(request, token.service_account)
    actor = build_actor_for_token(token, address=address, request_id=getattr(request, "request_id", ""))
    require_admin_network(actor.system_role, address)
    return actor


def record_token_use(token: ApiToken, address: str) -> bool:
    """When and from where the token was used last; one write a minute at most, and never a reason to fail.

    True if it was written.
    """
    now = timezone.now()
    if token.last_used_at and now - token.last_used_at < LAST_USED_EVERY:
        return False
    try:
        mine = ApiToken.objects.filter(pk=token.pk, last_used_at=token.last_used_at)
        return bool(mine.update(last_used_at=now, last_used_from=address))
    except AnyDatabaseError:
        log.warning("the use of token %s could not be noted", token.prefix, exc_info=True)
        return False


def record_token_misuse(request: HttpRequest, token: ApiToken, why: Unauthenticated) -> None:
    """Whoever sends a token that was taken away still has it: one record a minute, so that it floods nothing."""
    address = get_client_address(request)
    if not record_token_use(token, address):
        return
    holder = Actor(
        kind="user" if token.user_id else "service_account",
        label=str(token.user or token.service_account),
        user_id=token.user_id,
        service_account_id=token.service_account_id,
        token_id=token.pk,
        address=address,
        request_id=getattr(request, "request_id", ""),
    )
    about: dict[str, Any] = {"project_id": token.project_id, "object_type": "apitoken", "object_id": token.pk}
    record_refusal(holder, Refused(why.message, code=why.code, action="token.use", **about), request)
