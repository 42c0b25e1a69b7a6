"""The lists of people, of the members of a project, and of one's own tokens: their columns, and what narrows them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from django.db.models import Exists, OuterRef, Q, QuerySet
from django.http import QueryDict
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from apps.core.actors import Actor, ProjectRole, SystemRole
from apps.core.lists.listing import (
    Column,
    Listing,
    ListTable,
    build_builtin_view,
    build_day_filters,
    build_table,
    filter_between_days,
    read_filter_values,
)
from apps.core.lists.memory_lists import build_table_in_memory
from apps.core.request_values import validate_choice
from apps.platform.accounts import queries
from apps.platform.accounts.models import ApiToken, CredentialChange, Membership, Project, User
from apps.platform.accounts.queries import Member

ACTIVE, DISABLED, ONE_TIME, UNCONFIRMED = "active", "disabled", "one_time", "unconfirmed"
EXPIRED, REVOKED = "expired", "revoked"
SYSTEM_ROLES = [
    ("", gettext_lazy("Every role")),
    (SystemRole.SYSTEM_ADMIN.value, gettext_lazy("System administrator")),
    (SystemRole.SECURITY_ADMIN.value, gettext_lazy("Security administrator")),
    (SystemRole.AUDITOR.value, gettext_lazy("Auditor")),
]
PROJECT_ROLES = [
    ("", gettext_lazy("Every role")),
    (ProjectRole.VIEWER.value, gettext_lazy("Viewer")),
    (ProjectRole.ENGINEER.value, gettext_lazy("Engineer")),
    (ProjectRole.APPROVER.value, gettext_lazy("Approver")),
]


def get_attribute(name: str) -> Callable[[Any], Any]:
    return lambda row: getattr(row, name)


def get_person_state(user: User) -> str:
    if not user.has_access:
        return DISABLED
    return ONE_TIME if user.must_change_password else ACTIVE


def get_token_state(token: ApiToken) -> str:
    if token.revoked_at:
        return REVOKED
    return EXPIRED if token.expires_at <= timezone.now() else ACTIVE


PEOPLE = Listing(
    "people",
    (
        Column("username", gettext_lazy("User name"), get_attribute("username"), ("username",)),
        Column("name", gettext_lazy("Full name"), get_attribute("name"), ("name", "id")),
        Column("state", gettext_lazy("State"), get_person_state),
        Column("role", gettext_lazy("System role"), get_attribute("system_role"), ("system_role", "id")),
        Column("made", gettext_lazy("Created"), get_attribute("created_at"), ("id",), down=True, default_visible=False),
        Column(
            "last",
            gettext_lazy("Last log-in"),
            get_attribute("last_login"),
            ("last_login", "id"),
            down=True,
            sparse=True,
        ),
    ),
    sort="username",
)
MEMBERS = Listing(
    "members",
    (
        Column("name", gettext_lazy("Name"), get_attribute("name"), ("name",)),
        Column(
            "full_name", gettext_lazy("Full name"), get_attribute("full_name"), ("full_name",), default_visible=False
        ),
        Column("kind", gettext_lazy("Kind"), get_attribute("kind"), ("kind",)),
        Column("state", gettext_lazy("State"), lambda member: ACTIVE if member.is_active else DISABLED, ("is_active",)),
        Column("roles", gettext_lazy("Roles"), get_attribute("roles"), ("roles",)),
    ),
    sort="name",
)
TOKENS = Listing(
    "tokens",
    (
        Column("name", gettext_lazy("What for"), lambda row: row["token"].name),
        Column("prefix", gettext_lazy("Prefix"), lambda row: row["token"].prefix, default_visible=False),
        Column("state", gettext_lazy("State"), lambda row: row["state"]),
        Column("project", gettext_lazy("Project"), lambda row: row["token"].project.slug),
        Column("scopes", gettext_lazy("Scopes"), lambda row: row["token"].scopes),
        Column(
            "made",
            gettext_lazy("Created"),
            lambda row: row["token"].created_at,
            ("id",),
            down=True,
            default_visible=False,
        ),
        Column("expires", gettext_lazy("Expires"), lambda row: row["token"].expires_at, ("expires_at", "id")),
        Column("used", gettext_lazy("Last used"), lambda row: row["token"].last_used_at),
    ),
    sort="-made",
)


# -- people ---------------------------------------------------------------------------------------------------------
def build_people_table(actor: Actor, params: QueryDict) -> ListTable:
    """Everybody with an account, by name."""
    filters = read_filter_values(params, ("q", "state", "role", "project_role"))
    states = [("", _("Every state")), (ACTIVE, _("Active"))]
    states += [(ONE_TIME, _("One-time password")), (UNCONFIRMED, _("Not confirmed")), (DISABLED, _("Disabled"))]
    return build_table(
        PEOPLE,
        params,
        lambda: filter_people(actor, params, filters),
        filters=[
            {"name": "q", "label": _("User name"), "value": filters["q"]},
            {"name": "state", "label": _("State"), "value": filters["state"], "choices": states},
            {"name": "role", "label": _("System role"), "value": filters["role"], "choices": SYSTEM_ROLES},
            {
                "name": "project_role",
                "label": _("Role in a project"),
                "value": filters["project_role"],
                "choices": PROJECT_ROLES,
            },
            *build_day_filters(params, "last", _("Last log-in from"), _("Last log-in until")),
        ],
        builtin=[
            build_builtin_view(_("One-time password"), state=ONE_TIME),
            build_builtin_view(_("Not confirmed"), state=UNCONFIRMED),
            build_builtin_view(_("Disabled"), state=DISABLED),
            build_builtin_view(_("Logged in today"), last_after="today", sort="-last"),
        ],
    )


def filter_people(actor: Actor, params: QueryDict, filters: dict[str, str]) -> QuerySet[User]:
    validate_choice("state", filters["state"], (ACTIVE, ONE_TIME, UNCONFIRMED, DISABLED))
    validate_choice("role", filters["role"], [role.value for role in SystemRole])
    validate_choice("project_role", filters["project_role"], [role.value for role in ProjectRole])
    users = queries.list_users(actor)
    if filters["q"]:
        users = users.filter(Q(username__icontains=filters["q"]) | Q(name__icontains=filters["q"]))
    if filters["role"]:
        users = users.filter(system_role=filters["role"])
    if filters["project_role"]:
        roles = Membership.objects.filter(user=OuterRef("pk"), role=filters["project_role"])
        users = users.filter(Exists(roles))
    if filters["state"] == DISABLED:
        users = users.filter(is_active=False)
    elif filters["state"] == UNCONFIRMED:
        users = users.filter(Exists(CredentialChange.objects.filter(user=OuterRef("pk"), confirmed_at=None)))
    elif filters["state"]:
        users = users.filter(is_active=True, must_change_password=filters["state"] == ONE_TIME)
    rows: QuerySet[User] = filter_between_days(users, "last_login", params, "last")
    return rows


# -- members --------------------------------------------------------------------------------------------------------
def build_members_table(actor: Actor, project: Project, params: QueryDict) -> ListTable:
    """Who belongs to the project; in memory, as roles of one member are rows of their own."""
    filters = read_filter_values(params, ("q", "kind", "role"))
    kinds = [("", _("Every kind")), ("user", _("Person")), ("service_account", _("Service account"))]
    return build_table_in_memory(
        MEMBERS,
        params,
        lambda: filter_members(actor, project, filters),
        key=lambda member: f"{member.kind} {member.name}",
        filters=[
            {"name": "q", "label": _("Name"), "value": filters["q"]},
            {"name": "kind", "label": _("Kind"), "value": filters["kind"], "choices": kinds},
            {"name": "role", "label": _("Role"), "value": filters["role"], "choices": PROJECT_ROLES},
        ],
        builtin=[
            build_builtin_view(_("Approvers"), role=ProjectRole.APPROVER.value),
            build_builtin_view(_("Service accounts"), kind="service_account"),
        ],
    )


def filter_members(actor: Actor, project: Project, filters: dict[str, str]) -> list[Member]:
    validate_choice("kind", filters["kind"], ("user", "service_account"))
    validate_choice("role", filters["role"], [role.value for role in ProjectRole])
    part = filters["q"].casefold()
    return [
        member
        for member in queries.list_members(actor, project)
        if (not part or part in member.name.casefold() or part in member.full_name.casefold())
        and filters["kind"] in ("", member.kind)
        and (not filters["role"] or filters["role"] in member.roles)
    ]


# -- tokens ---------------------------------------------------------------------------------------------------------
def build_tokens_table(actor: Actor, params: QueryDict) -> ListTable:
    """One's own tokens, the newest first, revoked and expired ones too."""
    filters = read_filter_values(params, ("name", "state"))
    states = [("", _("Every state")), (ACTIVE, _("Active")), (EXPIRED, _("Expired")), (REVOKED, _("Revoked"))]
    return build_table(
        TOKENS,
        params,
        lambda: filter_tokens(actor, filters),
        filters=[
            {"name": "name", "label": _("What for"), "value": filters["name"]},
            {"name": "state", "label": _("State"), "value": filters["state"], "choices": states},
        ],
        transform_rows=add_token_states,
        builtin=[build_builtin_view(_("Active, the first to expire"), state=ACTIVE, sort="expires")],
    )


def filter_tokens(actor: Actor, filters: dict[str, str]) -> QuerySet[ApiToken]:
    validate_choice("state", filters["state"], (ACTIVE, EXPIRED, REVOKED))
    tokens = queries.list_own_tokens(actor)
    if filters["name"]:
        tokens = tokens.filter(Q(name__icontains=filters["name"]) | Q(prefix__startswith=filters["name"]))
    if filters["state"]:
        over = Q(expires_at__lte=timezone.now())
        live = Q(revoked_at__isnull=True)
        tokens = tokens.filter({ACTIVE: live & ~over, EXPIRED: live & over, REVOKED: ~live}[filters["state"]])
    return tokens


def add_token_states(tokens: Sequence[ApiToken]) -> list[dict[str, Any]]:
    return [{"token": token, "state": get_token_state(token)} for token in tokens]
