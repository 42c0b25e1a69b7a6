"""Accounts that end by themselves: at a date, or because nobody uses them (GB/T 22239-2019, 8.1.4.2 c)."""

from __future__ import annotations

from datetime import datetime, timedelta

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from apps.core import policy
from apps.core.actors import Actor
from apps.core.errors import Conflict, Invalid
from apps.platform.accounts.models import User
from apps.platform.accounts.queries import list_unused
from apps.platform.accounts.row_operations import lock_row
from apps.platform.accounts.services.people import end_access, refuse_oneself
from apps.platform.audit.services import record, seal_now
from deepseek.messages import N_, Message

MAX_YEARS = 10


def set_account_expiry(*, actor: Actor, user: User, expires_at: datetime | None, reason: str = "") -> User:
    """Let the account end at this time; None: at none.

    Invalid `out_of_range` for a time that has passed or is more than ten years off; Conflict `nothing_to_change`.
    """
    policy.require(actor, "user.set_expiry", user)
    refuse_oneself(actor, user, "user.set_expiry", Message("You cannot set when your own account ends."))
    now = timezone.now()
    if expires_at is not None and not now < expires_at <= now + timedelta(days=366 * MAX_YEARS):
        raise Invalid(
            "{at} UTC has passed, or is more than {years} years off.",
            at=f"{expires_at:%Y-%m-%d %H:%M}",
            years=MAX_YEARS,
            code="out_of_range",
            field="/expires_at",
            hint=N_("To end the access now, disable the account."),
        )
    with transaction.atomic():
        user = lock_row(user)
        before = user.expires_at
        if before == expires_at:
            raise Conflict(
                "{user_username} has this date already.",
                user_username=user.username,
                code="nothing_to_change",
                field="/expires_at",
            )
        user.expires_at = expires_at
        user.save(update_fields=["expires_at"])
        dates = [each.isoformat() if each else None for each in (before, expires_at)]
        record(
            actor=actor,
            action="user.set_expiry",
            obj=user,
            reason=reason,
            before={"expires_at": dates[0]},
            after={"expires_at": dates[1]},
        )
        seal_now()
    return user


def disable_idle_accounts(*, actor: Actor) -> int:
    """Disable the accounts that are past their date, and those unused for INACTIVE_DAYS; how many.

    Used means: logged in, or a token of the person was. The last of each kind of administrator stays: nobody could
    enable anybody any more.
    """
    policy.require(actor, "user.disable_idle")
    expired = User.objects.filter(is_active=True, expires_at__lte=timezone.now())
    count = sum(disable_idle_account(actor, user, "Its date has passed.") for user in expired)
    days = settings.INACTIVE_DAYS
    if days:
        reason = f"Nobody has used it for {days} days."
        count += sum(disable_idle_account(actor, user, reason, spare_last=True) for user in list_unused(days))
    return count


def disable_idle_account(actor: Actor, user: User, reason: str, *, spare_last: bool = False) -> bool:
    with transaction.atomic():
        user = lock_row(user)
        if not user.is_active:
            return False
        colleagues = User.objects.filter(system_role=user.system_role, is_active=True).exclude(pk=user.pk)
        if spare_last and user.system_role and not colleagues.exists():
            return False
        end_access(actor, user, reason)
        seal_now()
    return True
