"""Codes of a second factor: wrong ones count towards the same lock-out as wrong passwords."""

from __future__ import annotations

from allauth.account.adapter import get_adapter
from allauth.core import context
from allauth.core.internal.cryptokit import normalize_user_code
from allauth.mfa import app_settings
from allauth.mfa.adapter import get_adapter as get_factor_adapter
from allauth.mfa.base.forms import AuthenticateForm, ReauthenticateForm
from allauth.mfa.models import Authenticator
from axes.handlers.proxy import AxesProxyHandler
from django import forms
from django.core.cache import cache
from django.core.exceptions import ValidationError
from django.utils.translation import gettext_lazy as _

from apps.platform.accounts.lockout import is_locked

LOCKED = "too_many_login_attempts"


class CountedCodes:
    """For allauth's forms: five wrong codes of an account lock it at that device or address, as five passwords do.

    allauth's own limit, which is of the account alone, goes on beside that.
    """

    def clean_code(self) -> str:
        credentials = {"username": self.user.username}  # type: ignore[attr-defined]
        if is_locked(context.request, credentials):
            raise get_adapter().validation_error(LOCKED)
        try:
            code = str(super().clean_code())  # type: ignore[misc]
            self.refuse_used(code)
            return code
        except ValidationError as failure:
            if failure.code != LOCKED:
                AxesProxyHandler.user_login_failed(__name__, credentials=credentials, request=context.request)
            raise

    def refuse_used(self, code: str) -> None:
        """A code of an app is right for its own step and MFA_TOTP_TOLERANCE before and after; allauth remembers a used
        one for a single step."""
        if self.authenticator.type != Authenticator.Type.TOTP:  # type: ignore[attr-defined]
            return
        seconds = app_settings.TOTP_PERIOD * (2 * app_settings.TOTP_TOLERANCE + 1)
        user_id = self.authenticator.user_id  # type: ignore[attr-defined]
        if not cache.add(f"accounts.used_code.{user_id}.{normalize_user_code(code)}", "y", seconds):
            raise get_factor_adapter().validation_error("incorrect_code")


def build_code_field() -> forms.CharField:
    return forms.CharField(
        max_length=40,
        label=_("Code of your authenticator app"),
        help_text=_("6 digits, or a recovery code"),
        widget=forms.TextInput(attrs={"inputmode": "numeric", "autocomplete": "one-time-code", "autofocus": True}),
    )


class CodeForm(CountedCodes, AuthenticateForm):  # type: ignore[misc]  # untyped
    """At the log-in."""

    code = build_code_field()


class RepeatedCodeForm(CountedCodes, ReauthenticateForm):  # type: ignore[misc]  # untyped
    """Within a session: before a factor is changed, and in the proof of a decision."""

    code = build_code_field()
