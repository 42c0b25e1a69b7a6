"""Accounts of people: made, disabled and enabled, their role on the plane, their name and preferences."""

from __future__ import annotations

from typing import Any

from django.db import transaction
from django.utils import timezone

from apps.core import policy
from apps.core.actors import Actor, PlaneRole, SystemRole
from apps.core.errors import Conflict, NotFound, Refused
from apps.platform.accounts import validation
from apps.platform.accounts.confirmations import is_first_installation, record_credential_change, require_confirmed
from apps.platform.accounts.credentials import generate_one_time_password
from apps.platform.accounts.models import ApiToken, ChangeKind, User
from apps.platform.accounts.row_operations import end_sessions, lock_row, revoke_all, save_new
from apps.platform.audit.services import record, seal_now
from deepseek.messages import N_, Message


def create_user(*, actor: Actor, username: str, name: str = "", email: str = "") -> tuple[User, str]:
    """A person without any right yet, and the one-time password, which is shown once and kept nowhere.

    The account decides nothing until `confirm_credentials`, except on a plane that has no security administrator yet.
    Invalid for a bad name, Conflict (name_taken) for one in use, whatever its case.
    """
    policy.require(actor, "user.create")
    user = User(username=username, name=name, email=email)
    validation.check_fields(user, "username", "name", "email")
    validation.check_username(username)
    password = generate_one_time_password()
    user.set_password(password)
    with transaction.atomic():
        first = is_first_installation(actor)
        save_new(user, validation.build_name_conflict(username, "/username"))
        if not first:
            record_credential_change(actor, user, ChangeKind.CREATED)
        record(actor=actor, action="user.create", obj=user, after={"username": username, "name": name})
    return user, password


def disable_user(*, actor: Actor, user: User, reason: str = "") -> User:
    """End the person's access at once: sessions end, tokens are revoked. Conflict if already disabled."""
    policy.require(actor, "user.disable", user)
    refuse_oneself(actor, user, "user.disable", Message("You cannot disable your own account."))
    with transaction.atomic():
        user = lock_row(user)
        if not user.is_active:
            raise Conflict("{user_username} is already disabled.", user_username=user.username, code="already_disabled")
        end_access(actor, user, reason)
        seal_now()
    return user


def end_access(actor: Actor, user: User, reason: str) -> None:
    """Disable this locked row, revoke its tokens, end its sessions, and record it."""
    user.is_active = False
    user.save(update_fields=["is_active"])
    revoked = revoke_all(ApiToken.objects.filter(user=user))
    record(
        actor=actor,
        action="user.disable",
        obj=user,
        reason=reason,
        before={"is_active": True},
        after={"is_active": False, "tokens_revoked": revoked, "sessions_ended": end_sessions(user)},
    )


def enable_user(*, actor: Actor, user: User, reason: str = "") -> User:
    """Let a disabled person in again, with the old password; revoked tokens stay revoked."""
    policy.require(actor, "user.enable", user)
    with transaction.atomic():
        user = lock_row(user)
        if user.is_active:
            raise Conflict("{user_username} is not disabled.", user_username=user.username, code="already_enabled")
        if user.expires_at is not None and user.expires_at <= timezone.now():
            raise Conflict(
                "{user_username} expired on {at} UTC.",
                user_username=user.username,
                at=f"{user.expires_at:%Y-%m-%d %H:%M}",
                code="account_expired",
                field="/expires_at",
                hint=N_("Set another date, or none, first."),
            )
        user.is_active, user.activated_at = True, timezone.now()
        user.save(update_fields=["is_active", "activated_at"])
        record(
            actor=actor,
            action="user.enable",
            obj=user,
            reason=reason,
            before={"is_active": False},
            after={"is_active": True},
        )
        seal_now()
    return user


def set_system_role(*, actor: Actor, user: User, system_role: str, reason: str = "") -> User:
    """Give one of the three administrators' roles, or take it with "".

    Refused for one's own account; Conflict for a person with roles in projects, and when nothing would change.
    """
    policy.require(actor, "user.set_system_role", user)
    require_confirmed(actor, "user.set_system_role")
    role = validation.parse_system_role(system_role)
    refuse_oneself(actor, user, "user.set_system_role", Message("You cannot change your own role."))
    with transaction.atomic():
        user = lock_row(user)
        before = user.system_role
        if before == (role or ""):
            raise Conflict(
                "{user_username} has this role already.",
                user_username=user.username,
                code="nothing_to_change",
                field="/system_role",
            )
        if role:
            validation.check_active(user, field="/user")
            validation.check_no_memberships(user)
        first = is_first_installation(actor)
        user.system_role = role or ""
        user.save(update_fields=["system_role"])
        record_role_by_operator(actor, user, before, first=first)
        revoked = revoke_all(ApiToken.objects.filter(user=user)) if before == SystemRole.AUDITOR else 0
        record(
            actor=actor,
            action="user.set_system_role",
            obj=user,
            reason=reason,
            before={"system_role": before},
            after={"system_role": user.system_role, "tokens_revoked": revoked},
        )
        seal_now()
    return user


def rename_oneself(*, actor: Actor, name: str) -> User:
    """Change the name that others see; the user name never changes, because the audit trail refers to it."""
    policy.require(actor, "user.rename_oneself")
    if actor.user_id is None:
        raise NotFound("Only a person has a name to change.")
    with transaction.atomic():
        user = User.objects.select_for_update().get(pk=actor.user_id)
        before, user.name = user.name, name.strip()
        validation.check_fields(user, "name")
        if before != user.name:
            user.save(update_fields=["name"])
            record(
                actor=actor,
                action="user.rename_oneself",
                obj=user,
                before={"name": before},
                after={"name": user.name},
            )
    return user


def set_preferences(
    *,
    actor: Actor,
    time_zone: str | None = None,
    language: str | None = None,
    theme: str | None = None,
    email: str | None = None,
    hides_first_steps: bool | None = None,
) -> User:
    """How the pages are shown to the actor; an empty one is as the browser has it, None leaves it. `email`: where
    their notices are sent."""
    policy.require(actor, "user.set_preferences")
    if actor.user_id is None:
        raise NotFound("Only a person looks at pages.")
    values: dict[str, Any] = {"time_zone": time_zone, "language": language, "theme": theme, "email": email}
    values["hides_first_steps"] = hides_first_steps
    changes = {name: value for name, value in values.items() if value is not None}
    with transaction.atomic():
        user = User.objects.select_for_update().get(pk=actor.user_id)
        before = {name: getattr(user, name) for name in changes}
        for name, value in changes.items():
            setattr(user, name, value)
        validation.check_fields(user, *changes)
        if before != changes:
            user.save(update_fields=list(changes))
            record(actor=actor, action="user.set_preferences", obj=user, before=before, after=changes)
    return user


def record_role_by_operator(actor: Actor, user: User, before: str, *, first: bool) -> None:
    """A role that the operator gives is one person's act. Of one taken from a security administrator a row stays, which
    waits for nobody: that the plane has had one must not be forgotten with the role."""
    if actor.plane_role is not PlaneRole.OPERATOR:
        return
    if user.system_role and (not first or user.system_role == SystemRole.SECURITY_ADMIN):
        record_credential_change(actor, user, ChangeKind.SYSTEM_ROLE, confirmed=first)
    elif not user.system_role and before == SystemRole.SECURITY_ADMIN:
        record_credential_change(actor, user, ChangeKind.SYSTEM_ROLE, confirmed=True)


def refuse_oneself(actor: Actor, user: User, action: str, message: str) -> None:
    if actor.user_id == user.pk:
        raise Refused(message, code="own_account", action=action, object_type="user", object_id=user.pk)
