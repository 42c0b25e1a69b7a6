"""The gates of a session: administrators come from their networks; who has not given the second factor sets it up."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.http import HttpRequest, HttpResponseBase, JsonResponse
from django.shortcuts import resolve_url
from django.utils.http import urlencode

from apps.core.actors import Actor
from apps.core.errors import PlaneError, Refused
from apps.platform.accounts.factors.requirements import (
    get_proof_page,
    has_passed_factor,
    is_factor_required,
    list_factors,
)
from apps.platform.accounts.middleware import (
    GetResponse,
    build_redirect,
    get_requesting_page,
    is_for_programs,
    is_unattended,
)
from apps.platform.accounts.networks import require_admin_network
from apps.platform.audit.middleware import build_error_response
from apps.platform.audit.services import record_refusal

# By name, as for one-time passwords: what sets a factor up or proves it, and the ways out.
WITHOUT_FACTOR = frozenset(
    {
        "mfa_index",
        "mfa_activate_totp",
        "mfa_add_webauthn",
        "mfa_reauthenticate",
        "mfa_reauthenticate_webauthn",
        "account_reauthenticate",
        "account_change_password",
        "account_logout",
        "set_language",
        "healthz",
        "readyz",
    }
)
# Of these, for whoever has none yet: beside one that exists, another is added by a session that has given it. Or a
# session from before the first one, with the password alone, would add a key of its own and pass by that.
FOR_FIRST_FACTOR = frozenset({"mfa_activate_totp", "mfa_add_webauthn"})


class SecondFactorMissing(PlaneError):
    """A session without its second factor opens nothing but the pages that set it up or ask for it."""

    status = 403
    code = "second_factor_required"

    def __init__(self) -> None:
        super().__init__(
            "Your role needs a second factor, and this session has not given one.",
            hint="Open /accounts/2fa/ in a browser.",
        )


class SecondFactorRequired:
    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        return self.get_response(request)

    def process_view(
        self, request: HttpRequest, view: Callable[..., HttpResponseBase], args: Any, kwargs: Any
    ) -> HttpResponseBase | None:
        if is_unattended(request) or not request.user.is_authenticated:
            return None
        if not is_factor_required(request.actor) or has_passed_factor(request):
            return None
        request.factor_missing = True  # type: ignore[attr-defined]  # the frame of the pages that are open is empty
        name = request.resolver_match.view_name if request.resolver_match else ""
        if name in WITHOUT_FACTOR - FOR_FIRST_FACTOR:
            return None
        if is_for_programs(request):
            refusal = SecondFactorMissing()
            return JsonResponse(refusal.as_dict(), status=refusal.status)
        factors = list_factors(request.user.pk)
        if name in FOR_FIRST_FACTOR and not factors:
            return None
        if not factors:
            return build_redirect(request, resolve_url("mfa_index"))
        # Set up in another browser, or the role is new: this session has not given it yet.
        page = get_proof_page(factors)
        back = request.get_full_path() if request.method == "GET" else "/"
        back = get_requesting_page(request) if "HX-Request" in request.headers else back
        return build_redirect(request, f"{resolve_url(page)}?{urlencode({'next': back})}")


class AdministratorNetworks:
    """A session of an administrator that moves out of ADMIN_ALLOW reaches the log-out and nothing else."""

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        return self.get_response(request)

    def process_view(
        self, request: HttpRequest, view: Callable[..., HttpResponseBase], args: Any, kwargs: Any
    ) -> HttpResponseBase | None:
        actor: Actor = request.actor
        if is_unattended(request) or actor.system_role is None:
            return None
        if request.resolver_match and request.resolver_match.view_name in {"account_logout", "set_language"}:
            return None
        try:
            require_admin_network(actor.system_role, actor.address)
        except Refused as refusal:  # what a gate raises reaches no handler of errors
            record_refusal(actor, refusal, request)
            return build_error_response(request, refusal)
        return None
