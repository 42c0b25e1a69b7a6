"""allauth's pages that set up a second factor. Whoever has just proved the new one has given it in this session."""

from __future__ import annotations

from typing import Any

from allauth.account.internal.flows.login import record_authentication
from allauth.mfa.adapter import get_adapter
from allauth.mfa.base.views import IndexView
from allauth.mfa.totp.views import ActivateTOTPView
from allauth.mfa.webauthn.views import AddWebAuthnView, RemoveWebAuthnView
from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect

from apps.platform.accounts.factors.requirements import APP, KEY, is_factor_required


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
