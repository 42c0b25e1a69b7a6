"""Who may decide: nobody whose credentials one administrator has set, until another of the other kind confirms it.

A reset gives the new password to the administrator who made it. Without a second person that administrator could vote
as the approver, and as the security administrator who would have to agree.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.db.models import Exists, F, OuterRef, Q, QuerySet
from django.utils import timezone

from apps.core.actors import Actor, PlaneRole, SystemRole
from apps.core.errors import Conflict, Refused
from apps.platform.accounts.models import ApiToken, ChangeKind, CredentialChange, User
from deepseek.messages import N_, Message

SYSTEM, SECURITY, AUDITOR = SystemRole.SYSTEM_ADMIN, SystemRole.SECURITY_ADMIN, SystemRole.AUDITOR


# -- what is not confirmed ------------------------------------------------------------------------------------------
def list_unconfirmed_changes(user_id: int) -> list[CredentialChange]:
    """The changes of this account that nobody has confirmed, oldest first."""
    return list(CredentialChange.objects.filter(user_id=user_id, confirmed_at=None).order_by("pk"))


def exclude_unconfirmed(users: QuerySet[User]) -> QuerySet[User]:
    """Those of the accounts that may decide."""
    return users.filter(~Exists(CredentialChange.objects.filter(user=OuterRef("pk"), confirmed_at=None)))


def exclude_expired(users: QuerySet[User]) -> QuerySet[User]:
    """Those of the accounts that let somebody in: active, and not past their date. Housekeeping disables the others
    within the hour."""
    return users.filter(Q(expires_at=None) | Q(expires_at__gt=timezone.now()), is_active=True)


def is_unconfirmed(user_id: int | None) -> bool:
    return user_id is not None and CredentialChange.objects.filter(user_id=user_id, confirmed_at=None).exists()


def require_confirmed(actor: Actor, action: str, *, project_id: int | None = None) -> None:
    """Raise Refused where this person decides nothing for now. Every service that takes a decision calls it.

    `credentials_unconfirmed`: an administrator set the credentials, and nobody has confirmed it. `token_not_own`: the
    token was not created by its owner. What is no person passes: the policy has dealt with it.
    """
    if actor.user_id is None:
        return
    changes = list_unconfirmed_changes(actor.user_id)
    if changes:
        roles = get_confirming_roles(actor.system_role)
        needed, change = " or ".join(sorted(role.replace("_", " ") for role in roles)), changes[0]
        raise Refused(
            "{by_label} set the credentials or a role of this account on {at} UTC, and nobody has "
            "confirmed it: the account decides nothing.",
            by_label=change.by_label,
            at=f"{change.at:%Y-%m-%d %H:%M}",
            code="credentials_unconfirmed",
            action=action,
            project_id=project_id,
            object_type="user",
            object_id=actor.user_id,
            limit=needed,
            hint=Message("Ask a {needed} to confirm it on your page under People.", needed=needed),
        )
    if actor.token_id is not None and not is_deciding_token(actor.token_id):
        raise Refused(
            "This token was created by the operator of the machine: it decides nothing.",
            code="token_not_own",
            action=action,
            project_id=project_id,
            object_type="apitoken",
            object_id=actor.token_id,
            hint=N_("Create a token of your own under Account, API tokens."),
        )


def is_deciding_token(token_id: int) -> bool:
    """Whether its owner created it, or the operator did for one of the first accounts, which nobody has taken over.

    Until the person replaces the one-time password the operator has that too: their token gives away nothing more.
    """
    own = Q(created_by=F("user")) | Q(created_by=None, user__must_change_password=True)
    return ApiToken.objects.filter(own, pk=token_id).exists()


# -- who may confirm ------------------------------------------------------------------------------------------------
def get_confirming_roles(role_of_account: str | None) -> frozenset[SystemRole]:
    """The administrators who may confirm what a system administrator or the operator set: for a security
    administrator the auditor too, or a plane with one security administrator could never confirm that one."""
    return frozenset({SECURITY, AUDITOR}) if role_of_account == SECURITY else frozenset({SECURITY})


def can_confirm(actor: Actor, user: User, changes: Iterable[CredentialChange]) -> bool:
    """Whether `check_confirmable` would find something, for a button."""
    ready = actor.user_id != user.pk and not user.must_change_password
    return ready and any(_can_confirm(actor, user, change) for change in changes)


def _can_confirm(actor: Actor, user: User, change: CredentialChange) -> bool:
    return actor.system_role in get_confirming_roles(user.system_role) and change.by_id != actor.user_id


def check_confirmable(actor: Actor, user: User) -> list[CredentialChange]:
    """The changes that this administrator may confirm; Refused or Conflict where there are none."""
    changes = list_unconfirmed_changes(user.pk)
    if not changes:
        raise Conflict(
            "Nothing of {user_username} waits to be confirmed.",
            user_username=user.username,
            code="nothing_to_change",
            field="/user",
        )
    about: dict[str, Any] = {"action": "user.confirm_credentials", "object_type": "user", "object_id": user.pk}
    if all(change.by_id == actor.user_id for change in changes):
        raise Refused("You made this change: somebody else must confirm it.", code="own_change", **about)
    confirmable = [change for change in changes if _can_confirm(actor, user, change)]
    if not confirmable:
        needed = ", ".join(sorted(get_confirming_roles(user.system_role)))
        raise Refused(
            "Another kind of administrator confirms this.",
            code="wrong_administrator",
            limit=needed,
            hint=Message("It takes one of these roles: {needed}.", needed=needed),
            **about,
        )
    if user.must_change_password:
        raise Conflict(
            "{user_username} has not replaced the one-time password, which somebody else knows.",
            user_username=user.username,
            code="one_time_password",
            field="/user",
            hint=N_("Let the person log in and choose a password first; then confirm."),
        )
    return confirmable


# -- what makes an account unconfirmed ------------------------------------------------------------------------------
def is_first_installation(actor: Actor) -> bool:
    """Whether the operator makes the first accounts of a plane: it has had no security administrator who could confirm
    anything. The row that `set_system_role` keeps of the first one ends this for good; an upgrade adds it too."""
    if actor.plane_role is not PlaneRole.OPERATOR:
        return False
    return not (User.objects.filter(system_role=SECURITY).exists() or CredentialChange.objects.exists())


def record_credential_change(
    actor: Actor, user: User, kind: ChangeKind, *, confirmed: bool = False
) -> CredentialChange:
    """Keep that this actor set the account's credentials or power; in the transaction that does it."""
    # Only system administrators and the operator do, who counts as one.
    change = CredentialChange(user=user, kind=kind, by_id=actor.user_id, by_label=actor.label, by_role=SYSTEM)
    if confirmed:
        change.confirmed_at, change.confirmed_label = timezone.now(), actor.label
    change.save()
    return change
