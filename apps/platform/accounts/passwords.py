"""What a new password must be, and how long it may be kept. The figures are settings, read at each use."""

from __future__ import annotations

import unicodedata
from datetime import timedelta

from django.conf import settings
from django.contrib.auth.hashers import check_password
from django.core.exceptions import ValidationError
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from apps.platform.accounts.models import FormerPassword, User

NAME_PART = 4  # characters of a name from which on a password must not hold it


def needs_new_password(user: User) -> bool:
    """Whether the session may do nothing but choose a password: it is for one use, or was too old at the log-in."""
    return bool(user.must_change_password) or is_password_expired(user)


def is_password_expired(user: User) -> bool:
    """Whether the password was older than PASSWORD_MAX_AGE_DAYS when the person logged in; no query.

    At the log-in and not in the middle of a session: a form that is being filled in is not lost. A person without a
    password here, who logs in elsewhere, has none that could expire.
    """
    if not settings.PASSWORD_MAX_AGE_DAYS or not user.has_usable_password():
        return False
    since = user.password_changed_at or user.created_at
    return since + timedelta(days=settings.PASSWORD_MAX_AGE_DAYS) <= (user.last_login or timezone.now())


def get_minimum_length(user: User | None) -> int:
    """Characters that a password of this person has at least."""
    if user is not None and user.system_role:
        return max(settings.PASSWORD_MIN_LENGTH, settings.PASSWORD_MIN_LENGTH_ADMINISTRATORS)
    return int(settings.PASSWORD_MIN_LENGTH)


def count_classes(password: str) -> int:
    """How many of the four: upper case, lower case, digits, others (signs, spaces, characters without case)."""
    return len({classify(character) for character in password})


def classify(character: str) -> str:
    category = unicodedata.category(character)
    return {"Lu": "upper", "Lt": "upper", "Ll": "lower", "Nd": "digit"}.get(category, "other")


class MinimumLength:
    """More characters for administrators than for others."""

    def validate(self, password: str, user: User | None = None) -> None:
        least = get_minimum_length(user)
        if len(password) < least:
            raise ValidationError(
                ngettext(
                    "It has %(count)s character; %(least)s are needed.",
                    "It has %(count)s characters; %(least)s are needed.",
                    len(password),
                )
                % {"count": len(password), "least": least},
                code="password_too_short",
            )

    def get_help_text(self) -> str:
        return _("At least %(least)s characters; administrators: %(more)s.") % {
            "least": get_minimum_length(None),
            "more": max(settings.PASSWORD_MIN_LENGTH, settings.PASSWORD_MIN_LENGTH_ADMINISTRATORS),
        }


class CharacterClasses:
    """Kinds of characters, as assessments of GB/T 22239-2019 8.1.4.1 a ask for them."""

    def validate(self, password: str, user: User | None = None) -> None:
        if count_classes(password) < settings.PASSWORD_CLASSES:
            raise ValidationError(self.get_help_text(), code="password_classes")

    def get_help_text(self) -> str:
        return _("Characters of %(count)s of these: upper case, lower case, digits, signs or spaces.") % {
            "count": settings.PASSWORD_CLASSES
        }


class NotTheName:
    """Refuses a password that holds the user name or a part of the name, forwards or backwards."""

    def validate(self, password: str, user: User | None = None) -> None:
        if user is None:
            return
        text = password.casefold()
        parts = [user.username, *user.name.split(), user.email.partition("@")[0]]
        for part in (part.casefold() for part in parts if len(part) >= NAME_PART):
            if part in text or part[::-1] in text:
                raise ValidationError(_("It holds your name."), code="password_name")

    def get_help_text(self) -> str:
        return _("Not your name or user name.")


class NotTheSameAgain:
    """Refuses the password that the person has now (a one-time password would live on), and the last few before it."""

    def validate(self, password: str, user: User | None = None) -> None:
        if user is None or not user.pk:
            return
        if user.check_password(password):
            raise ValidationError(_("This is the password you have now: choose another."), code="password_same")
        former = FormerPassword.objects.filter(user=user).order_by("-pk").values_list("password", flat=True)
        if any(check_password(password, stored) for stored in former[: settings.PASSWORD_HISTORY]):
            raise ValidationError(
                _("You had this password before: choose one that is none of your last %(count)s.")
                % {"count": settings.PASSWORD_HISTORY},
                code="password_used_before",
            )

    def get_help_text(self) -> str:
        if not settings.PASSWORD_HISTORY:
            return _("It must differ from the password you have now.")
        return _("It must differ from the password you have now and from the %(count)s before it.") % {
            "count": settings.PASSWORD_HISTORY
        }
