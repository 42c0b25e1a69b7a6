"""From a person, a token or a job's grant to the one Actor value. Everything that the policy needs is read here."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import lru_cache
from ipaddress import ip_address, ip_network
from typing import Any

from django.conf import settings
from django.http import HttpRequest
from django.utils import timezone

from apps.core.actors import ANONYMOUS, Actor, PlaneRole, ProjectRole, SystemRole, build_plane_actor
from apps.platform.accounts.emergency_rights import EmergencyRights, find_emergency_rights
from apps.platform.accounts.models import ApiToken, Membership, ServiceAccount, User

AUDIT_SCOPE = "audit:read"


def build_actor_for_user(user: User, *, address: str = "", request_id: str = "") -> Actor:
    """The actor of a person at a browser; one query, two under an emergency grant. A disabled person is nobody."""
    if not user.has_access:
        return build_anonymous_actor(address=address, request_id=request_id)
    actor = Actor(
        kind="user",
        label=user.username,
        user_id=user.pk,
        system_role=SystemRole(user.system_role) if user.system_role else None,
        project_roles=get_person_roles(user),
        clearance=user.clearance,
        address=address,
        request_id=request_id,
    )
    if user.emergency_until is None or user.emergency_until <= timezone.now():
        return actor
    rights = find_emergency_rights(user.pk)
    return actor if rights is None else add_emergency_rights(actor, rights)


def add_emergency_rights(actor: Actor, rights: EmergencyRights) -> Actor:
    """The actor with what the grant lends. Where the person has no system role the lent one stands in its place, for
    what an administrator may see."""
    roles = dict(actor.project_roles)
    for project_id, lent in rights.project_roles.items():
        roles[project_id] = roles.get(project_id, frozenset()) | lent
    return replace(
        actor,
        system_role=actor.system_role or rights.system_role,
        project_roles=roles,
        emergency_id=rights.grant_id,
        emergency_roles=frozenset({rights.system_role} if rights.system_role else ()),
    )


def get_person_roles(user: User) -> dict[int, frozenset[ProjectRole]]:
    """The roles in projects; none for an administrator, even where somebody has written such rows into the table."""
    if user.system_role:
        return {}
    memberships = Membership.objects.filter(user=user, project__security_label__lte=user.clearance)
    return group_roles(memberships.values_list("project_id", "role"))


def build_actor_for_service_account(account: ServiceAccount) -> Actor:
    """What a service account may do in its project, before a token narrows it; one query."""
    memberships = Membership.objects.filter(
        service_account=account, project_id=account.project_id, project__security_label__lte=account.clearance
    )
    return Actor(
        kind="service_account",
        label=account.name,
        service_account_id=account.pk,
        project_roles=group_roles(memberships.values_list("project_id", "role")) if account.is_active else {},
        clearance=account.clearance,
    )


def build_actor_for_token(token: ApiToken, *, address: str = "", request_id: str = "") -> Actor:
    """The owner's actor, narrowed to the token's project and scopes; one query when the owner is loaded.

    A token belongs to one project, so a system role does not travel with it; the one exception is the auditor,
    whose trail belongs to no project: that role stays with the scope audit:read.
    """
    owner = token.user or token.service_account
    assert owner is not None  # noqa: S101 - a constraint of the table
    if not owner.has_access:
        return build_anonymous_actor(address=address, request_id=request_id)
    return Actor(
        kind="user" if token.user_id else "service_account",
        label=token.user.username if token.user else str(token.service_account),
        user_id=token.user_id,
        service_account_id=token.service_account_id,
        token_id=token.pk,
        scopes=frozenset(token.scopes),
        system_role=get_token_role(token.user.system_role if token.user else "", token.scopes),
        project_roles=get_token_project_roles(token, owner.clearance),
        clearance=owner.clearance,
        address=address,
        request_id=request_id,
    )


def get_token_project_roles(token: ApiToken, clearance: int) -> dict[int, frozenset[ProjectRole]]:
    """The owner's roles in the token's project; none for an administrator's token, or where the label is above."""
    if token.user is not None and token.user.system_role:
        return {}
    memberships = Membership.objects.filter(
        project_id=token.project_id,
        project__security_label__lte=clearance,
        user=token.user,
        service_account=token.service_account,
    )
    return group_roles(memberships.values_list("project_id", "role"))


def get_token_role(system_role: str, scopes: Iterable[str]) -> SystemRole | None:
    """The system role that a token keeps: the auditor's, and only to read the trail."""
    keeps = system_role == SystemRole.AUDITOR and AUDIT_SCOPE in scopes
    return SystemRole.AUDITOR if keeps else None


def build_actor_from_grant(grant: Mapping[str, Any]) -> Actor | None:
    """Who asked for a job, with the rights they have now; None when that authority is gone.

    `grant` is `Actor.as_record()` with `scopes`. Gone means: the person, service account or membership is removed or
    disabled, or the token is revoked or expired. Of the plane's own parts only the dispatcher submits any: what
    measures a version that somebody has added.
    """
    if (grant.get("kind"), grant.get("label")) == ("plane", PlaneRole.DISPATCHER):
        return build_plane_actor(PlaneRole.DISPATCHER)
    if grant.get("kind") not in {"user", "service_account"}:
        return None
    if grant.get("token") is not None:
        actor = build_actor_from_token_id(grant["token"], grant.get("scopes"))
    elif grant.get("user") is not None:
        user = User.objects.filter(pk=grant["user"], is_active=True).first()
        actor = build_actor_for_user(user) if user else None
    else:
        actor = None  # a service account acts by token only
    if actor is None or (actor.user_id, actor.service_account_id) != (grant.get("user"), grant.get("service_account")):
        return None
    return actor if actor.project_roles or actor.system_role else None


def build_actor_from_token_id(token_id: int, scopes: Iterable[str] | None) -> Actor | None:
    token = (
        ApiToken.objects.select_related("user", "service_account")
        .filter(pk=token_id, revoked_at__isnull=True, expires_at__gt=timezone.now())
        .first()
    )
    if token is None:
        return None
    token.scopes = sorted(set(token.scopes) & set(scopes or ()))
    actor = build_actor_for_token(token)
    return None if actor.is_anonymous else actor


def build_anonymous_actor(*, address: str = "", request_id: str = "") -> Actor:
    return Actor(kind=ANONYMOUS.kind, label=ANONYMOUS.label, address=address, request_id=request_id)


def group_roles(rows: Iterable[tuple[int, str]]) -> dict[int, frozenset[ProjectRole]]:
    """(project, role) rows as the roles of each project."""
    roles: dict[int, set[ProjectRole]] = {}
    for project_id, role in rows:
        roles.setdefault(project_id, set()).add(ProjectRole(role))
    return {project_id: frozenset(role_set) for project_id, role_set in roles.items()}


def get_client_address(request: HttpRequest) -> str:
    """The address that connected; if that is the TLS proxy's, the one that the proxy itself saw.

    A proxy appends the peer's address to X-Forwarded-For, so only the last hop is its word; what stands before
    came from the client and may be invented. So is the whole header of whoever comes past the proxy.
    """
    peer = str(request.META.get("REMOTE_ADDR", ""))[:45]
    if settings.ENV.behind_tls and is_proxy(peer, tuple(settings.ENV.proxy_addresses)):
        forwarded = request.headers.get("X-Forwarded-For", "").rpartition(",")[2].strip()
        return forwarded[:45] or peer
    return peer


@lru_cache(maxsize=256)
def is_proxy(peer: str, addresses: tuple[str, ...]) -> bool:
    """Whether this peer is one of the proxies; a Unix socket, which has no address, only the proxy can open."""
    if not peer:
        return True
    try:
        return any(ip_address(peer) in ip_network(each) for each in addresses)
    except ValueError:
        return False
