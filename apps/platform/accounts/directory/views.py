"""To the issuer and back: /accounts/oidc/login and /accounts/oidc/callback."""

from __future__ import annotations

import secrets
import time
from typing import Any

from allauth.account.internal.flows.login import perform_login, record_authentication
from allauth.account.models import Login
from allauth.account.views import LoginView
from django.conf import settings
from django.contrib import messages
from django.contrib.auth.decorators import login_not_required
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import redirect
from django.urls import reverse
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET

from apps.core.actors import PlaneRole, build_plane_actor
from apps.core.errors import PlaneError
from apps.core.messages import translate_error
from apps.platform.accounts import services
from apps.platform.accounts.directory import oidc
from apps.platform.audit.models import Result
from apps.platform.audit.receivers import build_acting_actor, record_account_event

PENDING, PENDING_SECONDS = "oidc", 600


class LogInView(LoginView):  # type: ignore[misc]  # untyped
    def get_context_data(self, **more: Any) -> dict[str, Any]:
        return {
            **super().get_context_data(**more),
            "has_directory": bool(settings.OIDC_ISSUER),
            "has_ldap": bool(settings.LDAP_URLS),
        }


@login_not_required
@never_cache
@require_GET
def start(request: HttpRequest) -> HttpResponse:
    """Send the browser to the issuer; where it wanted to go waits in the session."""
    refuse_without_issuer()
    try:
        address, pending = oidc.begin(request.build_absolute_uri(reverse("oidc_callback")))
    except PlaneError as failure:
        return refuse(request, failure, "")
    next_address = request.GET.get("next", "")
    safe = url_has_allowed_host_and_scheme(next_address, {request.get_host()}, require_https=request.is_secure())
    request.session[PENDING] = {**pending, "next": next_address if safe else "", "at": int(time.time())}
    return HttpResponseRedirect(address)


@login_not_required
@never_cache
@require_GET
def receive(request: HttpRequest) -> HttpResponse:
    """The issuer sent the browser back with a code. A second factor of the plane, where there is one, comes next."""
    refuse_without_issuer()
    pending = request.session.pop(PENDING, None)
    username = ""
    try:
        check_pending(request, pending)
        redirect_uri = request.build_absolute_uri(reverse("oidc_callback"))
        identity = oidc.complete(request.GET.get("code", ""), pending, redirect_uri)
        username = identity.username
        actor = build_plane_actor(PlaneRole.OPERATOR, host="directory")
        user = services.sign_in_from_directory(actor=actor, issuer=settings.OIDC_ISSUER, identity=identity)
    except PlaneError as failure:
        return refuse(request, failure, username)
    record_authentication(request, user, method="oidc", issuer=settings.OIDC_ISSUER)
    response: HttpResponse = perform_login(request, Login(user=user, redirect_url=pending["next"] or None))
    return response


def refuse_without_issuer() -> None:
    if not settings.OIDC_ISSUER:
        raise Http404


def check_pending(request: HttpRequest, pending: dict[str, str] | None) -> None:
    """That this browser began the log-in, lately; the issuer's own refusal otherwise."""
    state = request.GET.get("state", "")
    if not pending or not secrets.compare_digest(pending["state"].encode(), state.encode()):
        raise oidc.DirectoryFailed("this browser has not begun it")
    if time.time() - float(pending["at"]) > PENDING_SECONDS:
        raise oidc.DirectoryFailed("it took longer than ten minutes")
    if "code" not in request.GET:
        raise oidc.DirectoryFailed("it answered {answered!r}", answered=request.GET.get("error", "")[:40])


def refuse(request: HttpRequest, failure: PlaneError, username: str) -> HttpResponse:
    reason = f"directory: {failure.message}"
    record_account_event("user.log_in", build_acting_actor(request), name=username, result=Result.FAILED, reason=reason)
    messages.error(request, translate_error(failure))
    return redirect("account_login")
