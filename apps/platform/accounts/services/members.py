"""Projects, their members and their service accounts."""

from __future__ import annotations

from collections.abc import Iterable

from django.db import transaction

from apps.core import policy
from apps.core.actors import Actor, PlaneRole, ProjectRole
from apps.core.errors import Conflict, Invalid, NotFound
from apps.platform.accounts import validation
from apps.platform.accounts.confirmations import is_first_installation, record_credential_change, require_confirmed
from apps.platform.accounts.models import ApiToken, ChangeKind, HolderKind, Membership, Project, ServiceAccount, User
from apps.platform.accounts.row_operations import build_owner_filter, get_member_roles, lock_row, revoke_all, save_new
from apps.platform.accounts.services.people import refuse_oneself
from apps.platform.accounts.token_holders import record_holder
from apps.platform.audit.services import record, seal_now
from deepseek.messages import N_, Message


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
    if actor.emergency_id is not None and isinstance(member, User):  # without a grant administrators are no members
        refuse_oneself(actor, member, "member.set_roles", Message("You cannot give yourself roles in projects."))
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


def refuse_as_member(member: User | ServiceAccount, project: Project) -> None:
    if isinstance(member, User):
        validation.check_no_system_role(member)
    elif member.project_id != project.pk:
        raise NotFound("There is no such service account in this project.", field="/member")


def record_approver_by_operator(actor: Actor, member: User) -> None:
    """The security administrator gives roles; where the operator does, that is one person's act, as a reset is."""
    if actor.plane_role is PlaneRole.OPERATOR and not is_first_installation(actor):
        record_credential_change(actor, member, ChangeKind.ROLE)


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
        if not account.is_active and not account.is_suspended:
            raise Conflict("{account_name} is already disabled.", account_name=account.name, code="already_disabled")
        account.is_active = account.is_suspended = False
        account.save(update_fields=["is_active", "is_suspended"])
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
