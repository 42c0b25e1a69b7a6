"""Steps that the services share: insert, lock, revoke, end."""

from __future__ import annotations

from typing import TypeVar

from allauth.usersessions.models import UserSession
from django.contrib.auth.hashers import is_password_usable
from django.db import IntegrityError, models, transaction
from django.db.models.functions import Coalesce
from django.utils import timezone

from apps.core.errors import Conflict
from apps.platform.accounts.models import ApiToken, FormerPassword, Membership, Project, ServiceAccount, User

M = TypeVar("M", bound=models.Model)
FORMER_PASSWORDS = 24  # of a person, at most: the largest PASSWORD_HISTORY


def save_new(row: models.Model, conflict: Conflict) -> None:
    """Insert, or raise `taken` when a unique constraint says that somebody was faster."""
    try:
        with transaction.atomic():
            row.save(force_insert=True)
    except IntegrityError:
        raise conflict from None


def lock_row(row: M) -> M:
    """The row read anew and locked, so that two changes of one person's rights come one after the other."""
    return type(row)._default_manager.select_for_update().get(pk=row.pk)


def build_owner_filter(owner: User | ServiceAccount) -> dict[str, User | ServiceAccount]:
    return {"user": owner} if isinstance(owner, User) else {"service_account": owner}


def get_member_roles(project: Project, member: User | ServiceAccount) -> frozenset[str]:
    return frozenset(
        Membership.objects.filter(project=project, **build_owner_filter(member)).values_list("role", flat=True)
    )


def revoke_all(tokens: models.QuerySet[ApiToken]) -> int:
    """Revoke those of the tokens that still live, or could come back from a suspension; how many."""
    reachable = tokens.filter(models.Q(revoked_at__isnull=True) | models.Q(is_suspended=True))
    return reachable.update(revoked_at=Coalesce("revoked_at", timezone.now()), is_suspended=False)


def end_sessions(user: User) -> int:
    """Delete the person's sessions, so that none comes back to life; how many."""
    sessions = list(UserSession.objects.filter(user=user))
    for session in sessions:
        session.end()
    return len(sessions)


def keep_former_password(user: User) -> None:
    """Remember the password that is about to be replaced, as it is stored; the oldest of FORMER_PASSWORDS goes."""
    stored = User.objects.filter(pk=user.pk).values_list("password", flat=True).first()
    if not stored or not is_password_usable(stored):
        return
    FormerPassword.objects.create(user_id=user.pk, password=stored)
    oldest = FormerPassword.objects.filter(user_id=user.pk).order_by("-pk").values_list("pk", flat=True)
    FormerPassword.objects.filter(pk__in=list(oldest[FORMER_PASSWORDS:])).delete()
