"""What pages and REST show of people, members and tokens."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from django.db.models import Exists, OuterRef, Prefetch, QuerySet
from django.db.models.functions import Coalesce, Greatest
from django.utils import timezone

from apps.core import policy
from apps.core.actors import Actor
from apps.core.errors import NotFound
from apps.platform.accounts.actors import group_roles
from apps.platform.accounts.models import (
    ApiToken,
    CredentialChange,
    ExternalIdentity,
    Membership,
    Project,
    ServiceAccount,
    User,
)
from apps.platform.accounts.validation import list_usable_scopes

OF_A_USER = ("user__username", "user__name", "user__is_active")
OF_A_TOKEN = ("project", "user", "service_account", "created_by", "holder")
OF_A_SERVICE = ("service_account__name", "service_account__is_active")


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """A person or service account of a project, with the roles held there."""

    kind: str  # "user" | "service_account"
    name: str
    full_name: str
    is_active: bool
    roles: tuple[str, ...]


def list_projects(actor: Actor) -> QuerySet[Project]:
    """The projects that the actor may see; a token needs the scope read."""
    policy.require_scope(actor, "project.view")
    return Project.objects.visible_to(actor)


def list_users(actor: Actor) -> QuerySet[User]:
    """Everybody, for administrators; each with `unconfirmed_changes`."""
    policy.require(actor, "user.view")
    unconfirmed = CredentialChange.objects.filter(confirmed_at=None).order_by("pk")
    return User.objects.prefetch_related(Prefetch("credential_changes", unconfirmed, to_attr="unconfirmed_changes"))


def get_user(actor: Actor, username: str) -> User:
    """A person by name, whatever its case; NotFound."""
    user = list_users(actor).filter(username__iexact=username).first()
    if user is None:
        raise NotFound("There is no user {username!r}.", username=username[:80], field="username")
    return user


def list_directory_issuers(user: User) -> list[str]:
    """The directories that the account is bound to, by the names that they have here."""
    return list(ExternalIdentity.objects.filter(user=user).order_by("issuer").values_list("issuer", flat=True))


def list_members(actor: Actor, project: Project) -> list[Member]:
    """Who belongs to the project, people first, by name; one query, of plain values: a project may have thousands."""
    policy.require(actor, "member.view", project)
    rows = Membership.objects.filter(project=project).order_by("role").values_list("role", *OF_A_USER, *OF_A_SERVICE)
    members: dict[tuple[bool, str], tuple[str, bool, list[str]]] = {}
    for role, username, full_name, active, service, service_active in rows:
        owner = (username is None, service if username is None else username)
        profile = (full_name or "", service_active if username is None else active)
        members.setdefault(owner, (*profile, []))[2].append(role)
    return [
        Member(
            kind="service_account" if is_service else "user",
            name=name,
            full_name=full_name,
            is_active=is_active,
            roles=tuple(roles),
        )
        for (is_service, name), (full_name, is_active, roles) in sorted(members.items())
    ]


def get_member(actor: Actor, project: Project, name: str) -> User | ServiceAccount:
    """The service account of this name in the project, else the person; NotFound. For whoever manages members."""
    policy.require(actor, "member.set_roles", project)  # or any member could ask which people the plane knows
    account = ServiceAccount.objects.filter(project=project, name=name).first()
    owner = account or User.objects.filter(username__iexact=name).first()
    if owner is None:
        raise NotFound("There is no user or service account {name!r}.", name=name[:80], field="/member")
    return owner


def get_service_account(actor: Actor, project: Project, name: str) -> ServiceAccount:
    policy.require(actor, "member.view", project)
    account = ServiceAccount.objects.filter(project=project, name=name).select_related("project").first()
    if account is None:
        raise NotFound("There is no service account {name!r} in this project.", name=name[:50], field="name")
    return account


def get_holder(actor: Actor, account: ServiceAccount, username: str | None) -> User | None:
    """The person to whom a token of this account is given; NotFound for an unknown name, None for none."""
    policy.require(actor, "token.create_for_service_account", account)  # or any member could ask whom the plane knows
    if not username:
        return None
    user = User.objects.filter(username__iexact=username).first()
    if user is None:
        raise NotFound("There is no user {username!r}.", username=username[:80], field="/holder")
    return user


def list_own_tokens(actor: Actor) -> QuerySet[ApiToken]:
    """The actor's own tokens, revoked and expired ones too, for a person at a browser; secrets are not kept."""
    policy.require_scope(actor, "token.create")
    if actor.user_id is None:
        return ApiToken.objects.none()
    return ApiToken.objects.filter(user_id=actor.user_id).select_related(*OF_A_TOKEN)


def count_working_tokens(actor: Actor) -> int:
    return list_own_tokens(actor).filter(revoked_at__isnull=True, expires_at__gt=timezone.now()).count()


def list_tokens(actor: Actor) -> QuerySet[ApiToken]:
    """The tokens that the actor may revoke: one's own, or every one for the security administrator."""
    tokens = ApiToken.objects.select_related(*OF_A_TOKEN)
    if policy.is_allowed(actor, "member.set_roles"):
        return tokens
    return list_own_tokens(actor)


def get_token(actor: Actor, token_id: int) -> ApiToken:
    token = list_tokens(actor).filter(pk=token_id).first()
    if token is None:
        raise NotFound("There is no such token, or it is not yours.", field="id")
    return token


def list_projects_for_tokens(actor: Actor, user: User) -> dict[Project, list[str]]:
    """Where the person could make a token, and the scopes that would be of use there; two queries."""
    roles = group_roles(Membership.objects.filter(user=user).values_list("project_id", "role"))
    visible = Project.objects.visible_to(actor).order_by("slug")
    usable = {project: list_usable_scopes(project, user, roles.get(project.pk, frozenset())) for project in visible}
    return {project: scopes for project, scopes in usable.items() if scopes}


def name_of(owner: User | ServiceAccount) -> str:
    return owner.username if isinstance(owner, User) else owner.name


def list_unused(days: int) -> list[User]:
    """The accounts that nobody has used, and that were neither created nor enabled, for so many days."""
    since = timezone.now() - timedelta(days=days)
    tokens = ApiToken.objects.filter(user=OuterRef("pk"), last_used_at__gt=since)
    used = Greatest("created_at", Coalesce("last_login", "created_at"), Coalesce("activated_at", "created_at"))
    users = User.objects.filter(is_active=True).annotate(used_at=used)
    return list(users.filter(~Exists(tokens), used_at__lte=since).order_by("pk"))
