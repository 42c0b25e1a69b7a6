"""What allauth asks of us: no sign-up, one-time passwords that end, addresses as we count them, sealed TOTP secrets."""

from __future__ import annotations

from typing import Any

from allauth.account.adapter import DefaultAccountAdapter
from allauth.core import context
from allauth.mfa.adapter import DefaultMFAAdapter
from allauth.mfa.models import Authenticator
from django.contrib.auth.base_user import AbstractBaseUser
from django.core.exceptions import PermissionDenied, ValidationError
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext_lazy

from apps.core.encryption.columns import decrypt_text, encrypt_text
from apps.core.errors import PlaneError
from apps.core.messages import translate_error
from apps.platform.accounts.actors import build_actor_for_user, get_client_address
from apps.platform.accounts.factors.requirements import FACTOR_PURPOSE, FACTORS, is_factor_required
from apps.platform.accounts.known_devices import remember_device
from apps.platform.accounts.lockout import consume_limits
from apps.platform.accounts.models import User
from apps.platform.accounts.networks import require_admin_network
from apps.platform.accounts.row_operations import keep_former_password
from apps.platform.audit.models import Result
from apps.platform.audit.receivers import build_acting_actor, record_account_event


class AccountAdapter(DefaultAccountAdapter):  # type: ignore[misc]  # untyped
    def is_open_for_signup(self, request: HttpRequest) -> bool:
        """Never: an administrator creates accounts."""
        return False

    def pre_login(self, request: HttpRequest, user: User, **more: Any) -> HttpResponse | None:
        """Refused for an administrator from outside of ADMIN_ALLOW. An account past its date is as good as disabled."""
        require_admin_network(user.system_role, get_client_address(request))
        if user.is_active and not user.has_access:
            return self.respond_user_inactive(request, user)  # type: ignore[no-any-return]  # untyped
        return super().pre_login(request, user, **more)  # type: ignore[no-any-return]  # untyped

    def set_password(self, user: User, password: str) -> None:
        """A password that the person chose: what was for one use is replaced.

        When and from where is shown to whoever confirms the account: somebody else could have chosen it.
        """
        keep_former_password(user)
        user.must_change_password = False
        user.password_changed_at = timezone.now()
        user.password_changed_from = get_client_address(context.request) if context.request else ""
        super().set_password(user, password)

    def pre_authenticate(self, request: HttpRequest, **credentials: Any) -> None:
        """Our limits in the place of allauth's, which rolls the usage back after a log-in."""
        allowed, self._login_failed_rl_usage = consume_limits(request, credentials)
        if not allowed:
            raise self.validation_error("too_many_login_attempts")

    def authenticate(self, request: HttpRequest, **credentials: Any) -> AbstractBaseUser | None:
        """What a directory behind the form refuses stands above it, and in the trail; a wrong password is None."""
        try:
            return super().authenticate(request, **credentials)  # type: ignore[no-any-return]  # untyped
        except PlaneError as failure:
            name, reason = str(credentials.get("username", ""))[:80], f"directory: {failure.message}"
            actor = build_acting_actor(request)
            record_account_event("user.log_in", actor, name=name, result=Result.FAILED, reason=reason)
            raise ValidationError(translate_error(failure), code=failure.code) from None

    def post_login(self, request: HttpRequest, user: User, **kwargs: Any) -> HttpResponse:
        response: HttpResponse = super().post_login(request, user, **kwargs)
        remember_device(request, response, user.username)
        return response

    def get_password_change_redirect_url(self, request: HttpRequest) -> str:
        """Home: whoever had to choose a password came to do something else."""
        return reverse("home")

    def get_client_ip(self, request: HttpRequest) -> str:
        address = get_client_address(request)
        if not address:
            raise PermissionDenied("The address of this client is not known.")
        return address


class MFAAdapter(DefaultMFAAdapter):  # type: ignore[misc]  # untyped
    """TOTP secrets and recovery seeds are encrypted at rest: a copy of the database alone yields no code."""

    error_messages = DefaultMFAAdapter.error_messages | {
        "cannot_delete_authenticator": gettext_lazy("Your role needs a second factor: add another one first.")
    }

    def can_delete_authenticator(self, authenticator: Authenticator) -> bool:
        """Not the last one of a person whose role needs one: a lost one is taken away by a security administrator."""
        remaining = Authenticator.objects.filter(user=authenticator.user_id, type__in=FACTORS).exclude(
            pk=authenticator.pk
        )
        return remaining.exists() or not is_factor_required(build_actor_for_user(authenticator.user))

    def get_totp_issuer(self) -> str:
        """As apps list it: the plane's host name, without a port."""
        return str(context.request.get_host()).rpartition("@")[2].partition(":")[0]

    def encrypt(self, text: str) -> str:
        return encrypt_text(text, FACTOR_PURPOSE)

    def decrypt(self, encrypted_text: str) -> str:
        return decrypt_text(encrypted_text, FACTOR_PURPOSE)
