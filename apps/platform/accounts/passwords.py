"""A rule for new passwords that Django lacks."""

from __future__ import annotations

from django.core.exceptions import ValidationError
from django.utils.translation import gettext as _

from apps.platform.accounts.models import User


class NotTheSameAgain:
    """Refuses the password that the person has now: a one-time password would otherwise live on."""

    def validate(self, password: str, user: User | None = None) -> None:
        if user is not None and user.pk and user.check_password(password):
            raise ValidationError(_("This is the password you have now: choose another."), code="password_same")

    def get_help_text(self) -> str:
        return _("It must differ from the password you have now.")
