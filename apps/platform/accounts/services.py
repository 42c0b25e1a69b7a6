"""Every write on people, projects, members, service accounts and tokens. All are audited; role changes are sealed."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta

from django.db import transaction
from django.utils import timezone

from apps.core import policy
from apps.core.actors import Actor, PlaneRole, ProjectRole, SystemRole
from apps.core.errors import Conflict, Invalid, NotFound, Refused
from apps.platform.accounts import validation
from apps.platform.accounts.confirmations import (
    check_confirmable,
    is_first_installation,
    record_credential_change,
    require_confirmed,
)
from apps.platform.accounts.credentials import generate_one_time_password, generate_token
from apps.platform.accounts.models import ApiToken, ChangeKind, HolderKind, Membership, Project, ServiceAccount, User
from apps.platform.accounts.row_operations import (
    build_owner_filter,
    end_sessions,
    get_member_roles,
    lock_row,
    revoke_all,
    save_new,
)
from apps.platform.accounts.token_holders import check_holder, record_holder
from apps.platform.audit.services import record, seal_now
from deepseek.messages import N_, Message

DEFAULT_DAYS = 90
DECIDE = "approvals:decide"


# -- people ---------------------------------------------------------------------------------------------------------
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
        seal_now()
    return user


def enable_user(*, actor: Actor, user: User, reason: str = "") -> User:
    """Let a disabled person in again, with the old password; revoked tokens stay revoked."""
    policy.require(actor, "user.enable", user)
    with transaction.atomic():
        user = lock_row(user)
        if user.is_active:
            raise Conflict("{user_username} is not disabled.", user_username=user.username, code="already_enabled")
        user.is_active = True
        user.save(update_fields=["is_active"])
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


def reset_password(*, actor: Actor, user: User) -> str:
    """A new one-time password, shown once; every session of the person ends, and the account decides nothing until
    `confirm_credentials`.

    Not one's own: a person who knows the password changes it, with the rules for new passwords. Not another
    administrator's either: who reads the new password could act as them, and the three are kept apart.
    """
    policy.require(actor, "user.reset_password", user)
    refuse_oneself(actor, user, "user.reset_password", Message("Change your own password on the account page."))
    password = generate_one_time_password()
    with transaction.atomic():
        user = lock_row(user)  # its role is asked of the locked row: it may be given just now
        refuse_administrator(actor, user)
        validation.check_active(user, field="/user")
        user.set_password(password)
        user.must_change_password = True
        user.save(update_fields=["password", "must_change_password"])
        record_credential_change(actor, user, ChangeKind.PASSWORD)
        record(actor=actor, action="user.reset_password", obj=user, after={"sessions_ended": end_sessions(user)})
    return password


def confirm_credentials(*, actor: Actor, user: User, reason: str = "") -> User:
    """Confirm that the person, and nobody else, holds the credentials that another administrator has set.

    From now on the account decides again. Its sessions end: one might be of whoever knew the one-time password.
    Raises Refused `own_account`, `own_change`, `wrong_administrator`, `credentials_unconfirmed` (the actor's own);
    Conflict `nothing_to_change`, `one_time_password` (it is not replaced yet).
    """
    policy.require(actor, "user.confirm_credentials", user)
    require_confirmed(actor, "user.confirm_credentials")
    refuse_oneself(actor, user, "user.confirm_credentials", Message("You cannot confirm your own account."))
    with transaction.atomic():
        user = lock_row(user)
        changes = check_confirmable(actor, user)
        now = timezone.now()
        for change in changes:
            change.confirmed_by_id, change.confirmed_label, change.confirmed_at = actor.user_id, actor.label, now
            change.save(update_fields=["confirmed_by", "confirmed_label", "confirmed_at"])
        record(
            actor=actor,
            action="user.confirm_credentials",
            obj=user,
            reason=reason,
            before={"unconfirmed": [{"kind": change.kind, "by": change.by_label} for change in changes]},
            after={"sessions_ended": end_sessions(user)},
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
    *, actor: Actor, time_zone: str | None = None, language: str | None = None, theme: str | None = None
) -> User:
    """How the pages are shown to the actor; an empty one is as the browser has it, None leaves it."""
    policy.require(actor, "user.set_preferences")
    if actor.user_id is None:
        raise NotFound("Only a person looks at pages.")
    values = {"time_zone": time_zone, "language": language, "theme": theme}
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


# -- projects and members -------------------------------------------------------------------------------------------
def create_project(*, actor: Actor, slug: str, name: str = "") -> Project:
    """An empty project; Conflict if the slug is taken."""
    policy.require(actor, "project.create")
    project = Project(slug=slug, name=name or slug)
    validation.check_fields(project, "slug", "name")
    conflict = Conflict(
        "There is a project {slug!r} already.", slug=slug, code="name_taken", field="/slug", hint=N_("Choose another.")
    )
    with transaction.atomic():
        save_new(project, conflict)
        record(
            actor=actor,
            action="project.create",
            obj=project,
            project_id=project.pk,
            after={"slug": slug, "name": project.name},
        )
    return project


def set_member_roles(
    *, actor: Actor, project: Project, member: User | ServiceAccount, roles: Iterable[str], reason: str = ""
) -> frozenset[str]:
    """Make these the member's roles in the project: at least one; `remove_member` takes all.

    Conflict for an administrator, a disabled account, or when nothing would change; NotFound for a service account
    of another project.
    """
    policy.require(actor, "member.set_roles", project)
    require_confirmed(actor, "member.set_roles", project_id=project.pk)
    new_roles = validation.parse_project_roles(roles, for_person=isinstance(member, User))
    if not new_roles:
        raise Invalid("Give at least one role.", code="roles_missing", field="/roles", hint=N_("Or remove the member."))
    with transaction.atomic():
        member = lock_row(member)
        validation.check_active(member, field="/member")
        refuse_as_member(member, project)
        before = get_member_roles(project, member)
        if before == new_roles:
            raise Conflict("{member} has these roles already.", member=member, code="nothing_to_change", field="/roles")
        if isinstance(member, User) and ProjectRole.APPROVER in new_roles - before:
            record_approver_by_operator(actor, member)
        Membership.objects.filter(project=project, **build_owner_filter(member)).exclude(role__in=new_roles).delete()
        Membership.objects.bulk_create(
            [
                Membership(project=project, role=role, **build_owner_filter(member))
                for role in sorted(new_roles - before)
            ]
        )
        record(
            actor=actor,
            action="member.set_roles",
            obj=member,
            project_id=project.pk,
            reason=reason,
            before={"roles": sorted(before)},
            after={"roles": sorted(new_roles)},
        )
        seal_now()
    return frozenset(new_roles)


def remove_member(*, actor: Actor, project: Project, member: User | ServiceAccount, reason: str = "") -> None:
    """Take every role in the project and revoke the member's tokens there. NotFound if not a member."""
    policy.require(actor, "member.remove", project)
    require_confirmed(actor, "member.remove", project_id=project.pk)
    with transaction.atomic():
        member = lock_row(member)
        before = get_member_roles(project, member)
        if not before:
            raise NotFound("{member} is no member of {project}.", member=member, project=project, field="/member")
        Membership.objects.filter(project=project, **build_owner_filter(member)).delete()
        revoked = revoke_all(ApiToken.objects.filter(project=project, **build_owner_filter(member)))
        record(
            actor=actor,
            action="member.remove",
            obj=member,
            project_id=project.pk,
            reason=reason,
            before={"roles": sorted(before)},
            after={"roles": [], "tokens_revoked": revoked},
        )
        seal_now()


# -- service accounts -----------------------------------------------------------------------------------------------
def create_service_account(*, actor: Actor, project: Project, name: str, roles: Iterable[str]) -> ServiceAccount:
    """An internal tool's account in one project; it acts by tokens only and never approves."""
    policy.require(actor, "service_account.create", project)
    require_confirmed(actor, "service_account.create", project_id=project.pk)
    new_roles = validation.parse_project_roles(roles, for_person=False)
    if not new_roles:
        raise Invalid("Give at least one role.", code="roles_missing", field="/roles")
    account = ServiceAccount(project=project, name=name, created_by_id=actor.user_id)
    validation.check_fields(account, "name")
    validation.check_label(name, field="/name")
    with transaction.atomic():
        save_new(account, validation.build_name_conflict(name, "/name"))
        Membership.objects.bulk_create(
            [Membership(project=project, service_account=account, role=role) for role in sorted(new_roles)]
        )
        record_holder(account, actor.user_id, HolderKind.CREATED_ACCOUNT)
        record(
            actor=actor, action="service_account.create", obj=account, after={"name": name, "roles": sorted(new_roles)}
        )
        seal_now()
    return account


def disable_service_account(*, actor: Actor, account: ServiceAccount, reason: str = "") -> ServiceAccount:
    """End a tool's access for good: its tokens are revoked. Conflict if already disabled."""
    policy.require(actor, "service_account.disable", account)
    with transaction.atomic():
        account = lock_row(account)
        if not account.is_active:
            raise Conflict("{account_name} is already disabled.", account_name=account.name, code="already_disabled")
        account.is_active = False
        account.save(update_fields=["is_active"])
        record(
            actor=actor,
            action="service_account.disable",
            obj=account,
            reason=reason,
            before={"is_active": True},
            after={"is_active": False, "tokens_revoked": revoke_all(ApiToken.objects.filter(service_account=account))},
        )
        seal_now()
    return account


# -- tokens ---------------------------------------------------------------------------------------------------------
def create_token(
    *,
    actor: Actor,
    project: Project,
    name: str,
    scopes: Iterable[str],
    days: int = DEFAULT_DAYS,
    user: User | None = None,
) -> tuple[ApiToken, str]:
    """A token of one's own and its secret, which is shown once. Only the operator makes one for another `user`, and
    one that decides only until that person has chosen a password: then it is Refused `token_not_own`."""
    policy.require(actor, "token.create", project)
    scopes = list(scopes)
    if policy.DECIDING_SCOPES.intersection(scopes):  # it would outlive the confirmation
        require_confirmed(actor, "token.create", project_id=project.pk)
    if user is None and actor.user_id is not None:
        user = User.objects.filter(pk=actor.user_id).first()
    if user is None or (user.pk != actor.user_id and actor.plane_role is not PlaneRole.OPERATOR):
        raise Refused(
            "People make their own tokens.",
            code="not_yours",
            action="token.create",
            project_id=project.pk,
            field="/user",
        )
    if user.pk != actor.user_id and DECIDE in scopes and not user.must_change_password:
        raise Refused(
            "Nobody creates a token that decides for somebody else.",
            code="token_not_own",
            action="token.create",
            project_id=project.pk,
            field="/scopes",
            hint=Message("{user_username} creates it under Account, API tokens.", user_username=user.username),
        )
    return issue(actor, project, user, name, scopes, days, "token.create")


def create_token_for_service_account(
    *,
    actor: Actor,
    account: ServiceAccount,
    name: str,
    scopes: Iterable[str],
    days: int = DEFAULT_DAYS,
    holder: User | None = None,
) -> tuple[ApiToken, str]:
    """A token of a service account in its project, and its secret, which is shown once.

    `holder`: the person to whom it is given. Who creates it and who holds it count as requesters of what the account
    asks for. A token without a holder asks for no approval.
    """
    policy.require(actor, "token.create_for_service_account", account)
    require_confirmed(actor, "token.create_for_service_account", project_id=account.project_id)
    scopes = list(scopes)
    check_holder(holder)
    return issue(actor, account.project, account, name, scopes, days, "token.create_for_service_account", holder=holder)


def revoke_token(*, actor: Actor, token: ApiToken, reason: str = "") -> ApiToken:
    """Make a token worthless at once. One's own; the security administrator and the operator revoke any."""
    policy.require(actor, "token.revoke", token)
    governs = actor.system_role is SystemRole.SECURITY_ADMIN or actor.plane_role is not None
    if not governs and (token.user_id is None or token.user_id != actor.user_id):
        raise NotFound("There is no such token, or it is not yours.")
    with transaction.atomic():
        if revoke_all(ApiToken.objects.filter(pk=token.pk)) == 0:
            raise Conflict("The token {prefix}... is already revoked.", prefix=token.prefix, code="already_revoked")
        token.refresh_from_db()
        record(
            actor=actor,
            action="token.revoke",
            obj=token,
            reason=reason,
            after={"prefix": token.prefix, "name": token.name},
        )
        seal_now()
    return token


def issue(
    actor: Actor,
    project: Project,
    owner: User | ServiceAccount,
    name: str,
    scopes: Iterable[str],
    days: int,
    action: str,
    *,
    holder: User | None = None,
) -> tuple[ApiToken, str]:
    validation.check_days(days)
    secret, prefix, digest = generate_token()
    token = ApiToken(
        project=project,
        name=name.strip(),
        prefix=prefix,
        digest=digest,
        created_by_id=actor.user_id,
        holder=holder,
        **build_owner_filter(owner),
    )
    validation.check_fields(token, "name")
    with transaction.atomic():
        owner = lock_row(owner)  # a token made while its owner is being disabled would outlive the disabling
        validation.check_active(owner, field="/user")
        token.scopes = validation.check_scopes(scopes, project, owner)
        token.expires_at = timezone.now() + timedelta(days=days)
        token.save()
        after = {
            "owner": str(owner),
            "name": token.name,
            "prefix": prefix,
            "scopes": token.scopes,
            "expires_at": token.expires_at.isoformat(),
        }
        if isinstance(owner, ServiceAccount):
            record_holder(owner, actor.user_id, HolderKind.CREATED_TOKEN)
            record_holder(owner, holder.pk if holder else None, HolderKind.HOLDS_TOKEN)
            after["holder"] = str(holder) if holder else None
        record(actor=actor, action=action, obj=token, after=after)
    return token, secret


# -- shared ----------------------------------------------------------------------------------------------------------
def refuse_as_member(member: User | ServiceAccount, project: Project) -> None:
    if isinstance(member, User):
        validation.check_no_system_role(member)
    elif member.project_id != project.pk:
        raise NotFound("There is no such service account in this project.", field="/member")


def record_approver_by_operator(actor: Actor, member: User) -> None:
    """The security administrator gives roles; where the operator does, that is one person's act, as a reset is."""
    if actor.plane_role is PlaneRole.OPERATOR and not is_first_installation(actor):
        record_credential_change(actor, member, ChangeKind.ROLE)


def record_role_by_operator(actor: Actor, user: User, before: str, *, first: bool) -> None:
    """A role that the operator gives is one person's act. Of one taken from a security administrator a row stays, which
    waits for nobody: that the plane has had one must not be forgotten with the role."""
    if actor.plane_role is not PlaneRole.OPERATOR:
        return
    if user.system_role and (not first or user.system_role == SystemRole.SECURITY_ADMIN):
        record_credential_change(actor, user, ChangeKind.SYSTEM_ROLE, confirmed=first)
    elif not user.system_role and before == SystemRole.SECURITY_ADMIN:
        record_credential_change(actor, user, ChangeKind.SYSTEM_ROLE, confirmed=True)


def refuse_administrator(actor: Actor, user: User) -> None:
    if user.system_role and actor.plane_role is not PlaneRole.OPERATOR:
        raise Refused(
            "An administrator's password is reset by the operator of the machine.",
            code="administrators_apart",
            action="user.reset_password",
            object_type="user",
            object_id=user.pk,
            hint=Message("manage.py reset_password {user_username}", user_username=user.username),
        )


def refuse_oneself(actor: Actor, user: User, action: str, message: str) -> None:
    if actor.user_id == user.pk:
        raise Refused(message, code="own_account", action=action, object_type="user", object_id=user.pk)
