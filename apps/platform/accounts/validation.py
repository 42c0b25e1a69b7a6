"""What the services of this app refuse: values, names taken, rights that may not meet in one person."""

from __future__ import annotations

from collections.abc import Iterable

from django.core.exceptions import ValidationError
from django.db import models

from apps.core import policy
from apps.core.actors import Actor, PlaneRole, ProjectRole, SystemRole
from apps.core.errors import Conflict, Invalid
from apps.core.token_scopes import SCOPES
from apps.platform.accounts.actors import get_token_role
from apps.platform.accounts.models import Membership, Project, ServiceAccount, User
from deepseek.messages import N_

DAYS = (1, 366)
RESERVED = frozenset({"anonymous", "system", *(role.value for role in PlaneRole)})


def check_fields(row: models.Model, *names: str) -> None:
    """Run the model's own validators on these columns; Invalid with every error found."""
    excluded = [field.name for field in row._meta.fields if field.name not in names]
    try:
        row.clean_fields(exclude=excluded)
    except ValidationError as failure:
        failures = [
            {"code": "invalid", "message": f"/{name}: {text}", "field": f"/{name}", "limit": None, "hint": None}
            for name, texts in failure.message_dict.items()
            for text in texts
        ]
        raise Invalid(str(failures[0]["message"]), field=failures[0]["field"], errors=failures) from None


def check_label(name: str, *, field: str) -> None:
    """A name that nobody else acts under: the audit trail shows labels, so two must not look alike."""
    if name.partition("@")[0].lower() in RESERVED:
        raise Invalid("The name {name!r} is kept for the plane itself.", name=name, code="name_reserved", field=field)
    if User.objects.filter(username__iexact=name).exists():
        raise build_name_conflict(name, field)


def check_username(username: str) -> None:
    check_label(username, field="/username")
    if ServiceAccount.objects.filter(name__iexact=username).exists():
        raise build_name_conflict(username, "/username")


def build_name_conflict(name: str, field: str) -> Conflict:
    return Conflict(
        "The name {name!r} is taken.", name=name, code="name_taken", field=field, hint=N_("Choose another name.")
    )


def parse_system_role(value: str) -> SystemRole | None:
    """ "" takes the role away."""
    if not value:
        return None
    try:
        return SystemRole(value)
    except ValueError:
        raise build_role_error(value, "/system_role", [role.value for role in SystemRole]) from None


def parse_project_roles(values: Iterable[str], *, for_person: bool) -> frozenset[ProjectRole]:
    """Roles by name; Invalid for an unknown one, and for a service account that would approve."""
    parsed = set()
    for value in values:
        try:
            parsed.add(ProjectRole(value))
        except ValueError:
            raise build_role_error(value, "/roles", [role.value for role in ProjectRole]) from None
    if ProjectRole.APPROVER in parsed and not for_person:
        raise Invalid("A service account cannot approve: a person must.", code="not_a_person", field="/roles")
    return frozenset(parsed)


def build_role_error(value: object, field: str, choices: list[str]) -> Invalid:
    return Invalid(
        "There is no role {found!r}.", found=str(value)[:40], code="unknown_role", field=field, limit=", ".join(choices)
    )


def check_no_memberships(user: User) -> None:
    if Membership.objects.filter(user=user).exists():
        raise Conflict(
            "{user_username} has roles in projects.",
            user_username=user.username,
            code="has_project_roles",
            field="/system_role",
            hint=N_("Administrators work in no project: remove the memberships first, or use another account."),
        )


def check_no_system_role(user: User) -> None:
    if user.system_role:
        raise Conflict(
            "{user_username} is {system_role}.",
            user_username=user.username,
            system_role=user.system_role,
            code="has_system_role",
            field="/roles",
            hint=N_("Administrators work in no project: use another account."),
        )


def check_active(owner: User | ServiceAccount, *, field: str) -> None:
    if not owner.is_active:
        raise Conflict(
            "{owner} is disabled.", owner=owner, code="account_disabled", field=field, hint=N_("Enable it first.")
        )


def check_days(days: int) -> None:
    if not DAYS[0] <= days <= DAYS[1]:
        raise Invalid(
            "A token lives {days} to {days_2} days, not {days_3}.",
            days=DAYS[0],
            days_2=DAYS[1],
            days_3=days,
            code="out_of_range",
            field="/days",
            limit=DAYS[1],
        )


def check_scopes(scopes: Iterable[str], project: Project, owner: User | ServiceAccount) -> list[str]:
    """The scopes, sorted; Invalid when one is unknown or lets the owner do nothing in this project."""
    requested = sorted(set(scopes))
    if not requested:
        raise Invalid("A token needs a scope.", code="scopes_missing", field="/scopes", limit=", ".join(SCOPES))
    unknown = [scope for scope in requested if scope not in SCOPES]
    if unknown:
        raise Invalid(
            "There is no scope {unknown!r}.",
            unknown=unknown[0][:40],
            code="unknown_scope",
            field="/scopes",
            limit=", ".join(SCOPES),
        )
    usable = list_usable_scopes(project, owner)
    idle = [scope for scope in requested if scope not in usable]
    if idle:
        raise Invalid(
            "{owner} could do nothing with the scope {idle} in {project}.",
            owner=owner,
            idle=idle[0],
            project=project,
            code="scope_not_usable",
            field="/scopes",
            limit=", ".join(usable) or "none",
            hint=N_("A token never has more rights than its owner."),
        )
    return requested


def get_owner_roles(project: Project, owner: User | ServiceAccount) -> frozenset[ProjectRole]:
    mine = {"user": owner} if isinstance(owner, User) else {"service_account": owner}
    owned = Membership.objects.filter(project=project, **mine).values_list("role", flat=True)
    return frozenset(ProjectRole(role) for role in owned)


def list_usable_scopes(
    project: Project, owner: User | ServiceAccount, roles: frozenset[ProjectRole] | None = None
) -> list[str]:
    """The scopes with which a token of this owner could do anything at all in this project.

    `roles`: those the owner holds there, where the caller knows them; else one query.
    """
    roles = get_owner_roles(project, owner) if roles is None else roles
    system_role = owner.system_role if isinstance(owner, User) else ""
    usable = []
    for scope, actions in SCOPES.items():
        actor = Actor(
            kind="user",
            scopes=frozenset({scope}),
            system_role=get_token_role(system_role, [scope]),
            project_roles={project.pk: roles} if roles else {},
        )
        if any(policy.is_allowed(actor, action, project) for action in actions):
            usable.append(scope)
    return usable
