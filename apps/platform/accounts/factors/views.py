"""allauth's pages that set up a second factor. Whoever has just proved the new one has given it in this session."""

from __future__ import annotations

from typing import Any

from allauth.account.internal.flows.login import record_authentication
from allauth.mfa.adapter import get_adapter
from allauth.mfa.base.views import IndexView
from allauth.mfa.totp.views import ActivateTOTPView
from allauth.mfa.webauthn.views import AddWebAuthnView, RemoveWebAuthnView
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, resolve_url
from django.utils.http import urlencode

from apps.core.actors import Actor
from apps.core.errors import Refused
from apps.core.messages import translate_error
from apps.platform.accounts.factors.requirements import APP, KEY, get_proof_page, is_factor_required, list_factors
from apps.platform.accounts.reauthentication import require_fresh_decision


def ask_for_fresh_factor(request: HttpRequest, actor: Actor, action: str, *, back: str) -> HttpResponse | None:
    """The way to the page that asks for the second factor, and from there to `back`; None where it is fresh."""
    try:
        require_fresh_decision(request, actor, action)
    except Refused as refusal:
        if refusal.code != "factor_not_fresh" or actor.user_id is None:
            raise
        messages.info(request, translate_error(refusal))
        page = resolve_url(get_proof_page(list_factors(actor.user_id)))
        return redirect(f"{page}?{urlencode({'next': back})}")
    return None


class FactorsView(IndexView):  # type: ignore[misc]  # untyped
    def get_context_data(self, **more: Any) -> dict[str, Any]:
        return {**super().get_context_data(**more), "second_factor_required": is_factor_required(self.request.actor)}


class SetUpAppView(ActivateTOTPView):  # type: ignore[misc]  # untyped
    def form_valid(self, form: Any) -> HttpResponse:
        response: HttpResponse = super().form_valid(form)
        record_authentication(self.request, self.request.user, method="mfa", type=APP)
        return response


class AddKeyView(AddWebAuthnView):  # type: ignore[misc]  # untyped
    def form_valid(self, form: Any) -> HttpResponse:
        response: HttpResponse = super().form_valid(form)
        record_authentication(self.request, self.request.user, method="mfa", type=KEY)
        return response


class RemoveKeyView(RemoveWebAuthnView):  # type: ignore[misc]  # untyped
    def form_valid(self, form: Any) -> HttpResponse:
        """allauth asks the adapter about the app alone; the last key of a role that needs a factor stays too."""
        adapter = get_adapter()
        if not adapter.can_delete_authenticator(self.get_object()):
            messages.error(self.request, str(adapter.error_messages["cannot_delete_authenticator"]))
            return redirect("mfa_list_webauthn")
        response: HttpResponse = super().form_valid(form)
        return response
