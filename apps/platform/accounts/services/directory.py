"""Whoever a directory has authenticated: their account here, and the roles that its groups give."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.db import IntegrityError, transaction

from apps.core import policy
from apps.core.actors import Actor
from apps.core.errors import Conflict, Refused
from apps.platform.accounts.confirmations import record_credential_change
from apps.platform.accounts.directory.mapping import (
    group_project_roles,
    list_managed_system_roles,
    list_system_roles,
)
from apps.platform.accounts.directory.oidc import Identity
from apps.platform.accounts.models import ChangeKind, ExternalIdentity, Project, User
from apps.platform.accounts.row_operations import end_sessions, get_member_roles, lock_row
from apps.platform.accounts.services.members import remove_member, set_member_roles
from apps.platform.accounts.services.people import create_user, refuse_oneself, set_system_role
from apps.platform.audit.services import record, seal_now
from deepseek.messages import N_, Message

REASON = "Groups of the directory."


def sign_in_from_directory(*, actor: Actor, issuer: str, identity: Identity) -> User:
    """The account of whom the issuer names, with the roles that the groups give now.

    Found by the issuer's own name for the person alone. The first time, an account of the user name is bound where an
    administrator has opened it to the directory (`set_directory_access`), or made where DIRECTORY_SIGN_UP allows that;
    the account then decides nothing until an administrator confirms it, as after a reset: who runs the directory is one
    person alone. Refused `account_unknown`, `account_not_opened`, `identity_taken`, `administrators_apart`,
    `account_disabled`; and what giving the roles raises, which leaves everything as it was.
    """
    policy.require(actor, "user.sign_in_from_directory")
    try:
        return enter_account(actor, issuer, identity)
    except (Conflict, IntegrityError):  # another first log-in of the person was faster: it has committed by now
        if not ExternalIdentity.objects.filter(issuer=issuer, subject=identity.subject).exists():
            raise
    return enter_account(actor, issuer, identity)


def enter_account(actor: Actor, issuer: str, identity: Identity) -> User:
    with transaction.atomic():
        bound = ExternalIdentity.objects.filter(issuer=issuer, subject=identity.subject).first()
        user = lock_row(bound.user) if bound else bind_account(actor, issuer, identity)
        refuse_local_administrator(user)
        if not user.has_access:
            raise build_refusal(N_("{username} is disabled."), user.username, "account_disabled")
        apply_groups(actor, user, identity.groups)
    return user


def bind_account(actor: Actor, issuer: str, identity: Identity) -> User:
    user = User.objects.select_for_update().filter(username__iexact=identity.username).first()
    if user is None:
        user = sign_up(actor, identity)
    else:
        bound = ExternalIdentity.objects.filter(user=user, issuer=issuer).first()  # read behind the lock
        if bound is not None and bound.subject == identity.subject:
            return user  # by another first log-in of the person, a moment ago
        refuse_local_account(user, identity, is_bound=bound is not None)
        retire_one_time_password(user)
    ExternalIdentity.objects.create(user=user, issuer=issuer, subject=identity.subject)
    record_credential_change(actor, user, ChangeKind.DIRECTORY)
    after = {"issuer": issuer, "subject": identity.subject}
    record(actor=actor, action="user.bind_to_directory", obj=user, after=after)
    seal_now()
    return user


def refuse_local_account(user: User, identity: Identity, *, is_bound: bool) -> None:
    """Whoever runs the directory chooses its user names: one that is written like ours takes over no account."""
    if is_bound:
        raise build_refusal(N_("{username} is somebody else of the directory."), user.username, "identity_taken")
    if not user.open_to_directory:
        raise build_refusal(
            N_("The account {username} is not open to the directory."),
            user.username,
            "account_not_opened",
            hint=N_("Ask a system administrator to open it, on your page under People."),
        )
    if user.system_role and user.system_role not in list_system_roles(settings.DIRECTORY_ROLES, identity.groups):
        raise build_local_refusal(user)


def retire_one_time_password(user: User) -> None:
    """The account is open for this one binding. A password for one use, which an administrator has seen, ends with it:
    the person logs in by the directory and would never replace it."""
    user.open_to_directory = False
    if user.must_change_password:
        user.set_unusable_password()
        user.must_change_password = False
    user.save(update_fields=["open_to_directory", "password", "must_change_password"])


def set_directory_access(*, actor: Actor, user: User, is_open: bool, reason: str = "") -> User:
    """Open a local account to the directory, whose first log-in of this user name is then bound to it; or close it,
    which also forgets whom it was bound to, and ends the sessions.

    Refused for one's own account; Conflict `nothing_to_change`.
    """
    policy.require(actor, "user.open_to_directory", user)
    refuse_oneself(
        actor, user, "user.open_to_directory", Message("Another administrator opens your account to the directory.")
    )
    with transaction.atomic():
        user = lock_row(user)
        bound = ExternalIdentity.objects.filter(user=user)
        before = {"open": user.open_to_directory, "bound": sorted(bound.values_list("issuer", flat=True))}
        if user.open_to_directory if is_open else not (user.open_to_directory or before["bound"]):
            raise Conflict(
                "{user_username} is open to the directory already."
                if is_open
                else "{user_username} is not open to the directory.",
                user_username=user.username,
                code="nothing_to_change",
                field="/open",
            )
        user.open_to_directory = is_open
        user.save(update_fields=["open_to_directory"])
        after: dict[str, Any] = {"open": is_open}
        if not is_open:
            bound.delete()
            after |= {"bound": [], "sessions_ended": end_sessions(user)}
        record(actor=actor, action="user.open_to_directory", obj=user, reason=reason, before=before, after=after)
        seal_now()
    return user


def refuse_local_administrator(user: User) -> None:
    """An account that was bound before the plane made it an administrator: the directory must not get in as one."""
    if user.system_role and user.system_role not in list_managed_system_roles(settings.DIRECTORY_ROLES):
        raise build_local_refusal(user)


def build_local_refusal(user: User) -> Refused:
    return build_refusal(N_("{username} is an administrator here alone."), user.username, "administrators_apart")


def sign_up(actor: Actor, identity: Identity) -> User:
    """A new account without a password."""
    if not settings.DIRECTORY_SIGN_UP:
        raise build_refusal(N_("There is no account {username} here."), identity.username, "account_unknown")
    user, _password = create_user(actor=actor, username=identity.username, name=identity.name, email=identity.email)
    user.set_unusable_password()
    user.must_change_password = False
    user.save(update_fields=["password", "must_change_password"])
    return user


def build_refusal(
    message: str, username: str, code: str, *, hint: str = N_("Ask an administrator of the plane.")
) -> Refused:
    return Refused(
        message,
        username=username,
        code=code,
        action="user.sign_in_from_directory",
        object_type="user",
        object_id=username,
        hint=hint,
    )


def apply_groups(actor: Actor, user: User, groups: tuple[str, ...]) -> None:
    """The roles that DIRECTORY_ROLES names are the directory's: given with their group, and taken with it."""
    rules = settings.DIRECTORY_ROLES
    system_roles = list_system_roles(rules, groups)
    if len(system_roles) > 1:
        raise build_refusal(N_("{username} is two administrators there."), user.username, "administrators_apart")
    if user.system_role in list_managed_system_roles(rules) - system_roles:
        user = set_system_role(actor=actor, user=user, system_role="", reason=REASON)
    for slug, roles in group_project_roles(rules, groups).items():
        project = Project.objects.filter(slug=slug).first()
        if project is not None:
            set_roles_in(actor, user, project, set() if system_roles else roles)
    for role in system_roles - {user.system_role}:
        set_system_role(actor=actor, user=user, system_role=role, reason=REASON)


def set_roles_in(actor: Actor, user: User, project: Project, roles: set[str]) -> None:
    before = get_member_roles(project, user)
    if roles and roles != before:
        set_member_roles(actor=actor, project=project, member=user, roles=sorted(roles), reason=REASON)
    elif before and not roles:
        remove_member(actor=actor, project=project, member=user, reason=REASON)
