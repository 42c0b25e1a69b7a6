"""Steps that the services share: insert, lock, revoke, end."""

from __future__ import annotations

from typing import TypeVar

from allauth.usersessions.models import UserSession
from django.db import IntegrityError, models, transaction
from django.utils import timezone

from apps.core.errors import Conflict
from apps.platform.accounts.models import ApiToken, Membership, Project, ServiceAccount, User

M = TypeVar("M", bound=models.Model)


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
    """Revoke those of the tokens that still live; how many."""
    return tokens.filter(revoked_at__isnull=True).update(revoked_at=timezone.now())


def end_sessions(user: User) -> int:
    """Delete the person's sessions, so that none comes back to life; how many."""
    sessions = list(UserSession.objects.filter(user=user))
    for session in sessions:
        session.end()
    return len(sessions)
