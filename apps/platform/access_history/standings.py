"""What an account had at each time of a day, and what the policy lets it do with that."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from apps.core.actors import Actor, ProjectRole, SystemRole
from apps.core.policy import DECISIONS, PLANE_ACTIONS, InProject, is_allowed
from apps.platform.access_history.changes import ACTIVE, CLEARANCE, EXPIRES, LABEL, SYSTEM_ROLE, Property
from apps.platform.access_history.histories import AccountHistory, PropertyHistory
from apps.platform.accounts.actors import get_token_role
from apps.platform.accounts.models import ApiToken
from apps.platform.accounts.security_labels import list_labels
from apps.platform.emergency.models import EmergencyGrant

Projects = Mapping[int, tuple[str, PropertyHistory]]  # {id: (slug, history of its label)}
WORKING, DISABLED, EXPIRED, ABSENT = "active", "disabled", "expired", "absent"


@dataclass(frozen=True, slots=True)
class Standing:
    """The grants of an account from `since` to `until` (None: the moment that was asked for), all unchanged."""

    since: datetime
    until: datetime | None
    access: str  # one of WORKING, DISABLED, EXPIRED, ABSENT
    system_role: str = ""
    roles: tuple[tuple[int, str], ...] = ()  # (project, role); those of a project above the clearance too
    clearance: str = ""
    tokens: tuple[ApiToken, ...] = ()
    emergency: tuple[EmergencyGrant, ...] = ()
    is_confirmed: bool = True  # otherwise it decides nothing: its credentials waited for a second person
    visible_projects: frozenset[int] = frozenset()  # whose label the clearance reached
    unproven: tuple[Property, ...] = ()  # values that the trail does not prove

    @property
    def has_grants(self) -> bool:
        return bool(self.system_role or self.roles or self.tokens or self.emergency)


def build_standings(
    history: AccountHistory, projects: Projects, start: datetime, end: datetime | None
) -> list[Standing]:
    """The standings of start..end in their order, or the one at `start` where `end` is None."""
    if end is None:
        return [build_standing(history, projects, start, None)]
    times = sorted({start, *(at for at in iter_times(history, projects) if start < at < end)})
    standings: list[Standing] = []
    for since, until in zip(times, [*times[1:], end], strict=True):
        standing = build_standing(history, projects, since, until)
        if standings and replace(standings[-1], since=since, until=until) == standing:
            standing = replace(standings.pop(), until=until)
        standings.append(standing)
    return standings


def iter_times(history: AccountHistory, projects: Projects) -> Iterator[datetime]:
    """Every time at which anything may change."""
    yield history.created_at
    for changes in history.changes.values():
        yield from (change.at for change in changes)
    yield from (parse_time(change.after) for change in history.changes.get(EXPIRES, ()) if change.after)
    if history.present.get(EXPIRES):
        yield parse_time(history.present[EXPIRES])
    yield from history.role_since.values()
    for token in history.tokens:
        yield from (token.created_at, get_token_end(token))
    for spans in history.suspensions.values():
        yield from (at for span in spans for at in span)
    for grant in history.emergency:
        if grant.confirmed_at is not None:
            yield from (grant.confirmed_at, get_grant_end(grant))
    for change in history.credentials:
        yield change.at
        if change.confirmed_at is not None:
            yield change.confirmed_at
    for project_id in history.list_project_ids() & set(projects):
        yield from (change.at for change in projects[project_id][1].changes.get(LABEL, ()))


def build_standing(history: AccountHistory, projects: Projects, at: datetime, until: datetime | None) -> Standing:
    """What the account had at this time."""
    if history.created_at > at:
        return Standing(at, until, ABSENT)
    unproven: list[Property] = [] if history.creation is not None else [("creation", None, "")]

    def get(key: Property) -> object:
        value, is_proven = history.get_value(key, at)
        if not is_proven:
            unproven.append(key)
        return value

    is_active, expires, system_role, clearance = get(ACTIVE), get(EXPIRES), str(get(SYSTEM_ROLE)), str(get(CLEARANCE))
    has_expired = isinstance(expires, str) and parse_time(expires) <= at
    roles = tuple((key[1] or 0, key[2]) for key in history.list_roles() if get(key))
    level = get_level(clearance)
    visible = {pk for pk, (_slug, labels) in projects.items() if get_level(labels.get_value(LABEL, at)[0]) <= level}
    return Standing(
        since=at,
        until=until,
        access=DISABLED if not is_active else EXPIRED if has_expired else WORKING,
        system_role=system_role,
        roles=roles,
        clearance=clearance,
        tokens=tuple(token for token in history.tokens if is_working(history, token, at)),
        emergency=tuple(grant for grant in history.emergency if is_in_force(grant, at)),
        is_confirmed=not any(
            change.at <= at and (change.confirmed_at is None or at < change.confirmed_at)
            for change in history.credentials
        ),
        visible_projects=frozenset(visible),
        unproven=tuple(unproven),
    )


def parse_time(text: str) -> datetime:
    return datetime.fromisoformat(text)


def get_level(label: object) -> int:
    """The place of a label's name; the lowest for one that the setting has lost."""
    names = list_labels()
    return names.index(label) if label in names else 0


def is_working(history: AccountHistory, token: ApiToken, at: datetime) -> bool:
    """Whether the token was neither over nor suspended at this time."""
    is_suspended = any(since <= at < until for since, until in history.suspensions.get(token.pk, ()))
    return token.created_at <= at < get_token_end(token) and not is_suspended


def get_token_end(token: ApiToken) -> datetime:
    return min(token.expires_at, token.revoked_at) if token.revoked_at else token.expires_at


def get_grant_end(grant: EmergencyGrant) -> datetime:
    assert grant.expires_at is not None  # noqa: S101 - it was confirmed
    return min(grant.expires_at, grant.ended_at) if grant.ended_at else grant.expires_at


def is_in_force(grant: EmergencyGrant, at: datetime) -> bool:
    return grant.confirmed_at is not None and grant.confirmed_at <= at < get_grant_end(grant)


# -- what the policy allows -----------------------------------------------------------------------------------------
def can_do(history: AccountHistory, standing: Standing, action: str, project_id: int | None) -> bool:
    """Whether `policy.require` would have passed, by today's table. `project_id` None: in any project, or on the plane.

    As it is at a log-in or with a token: a disabled account does nothing, an administrator nothing in projects, and
    whose credentials are unconfirmed decides nothing.
    """
    if standing.access != WORKING or (action in DECISIONS and not standing.is_confirmed):
        return False
    actors = [build_person(history, standing)] if history.user_id is not None else build_tools(history, standing)
    for actor in actors:
        if action in PLANE_ACTIONS:
            places: list[InProject | None] = [None]
        elif project_id is not None:
            places = [InProject(project_id)]
        else:
            places = [*(InProject(pk) for pk in actor.project_ids), *([InProject(0)] if actor.system_role else [])]
        if any(is_allowed(actor, action, place) for place in places):
            return True
    return False


def build_person(history: AccountHistory, standing: Standing) -> Actor:
    """As `accounts.actors.build_actor_for_user` builds it; tokens only narrow it."""
    roles: dict[int, set[ProjectRole]] = {}
    lent = standing.system_role != SystemRole.AUDITOR and standing.emergency
    system_role = SystemRole(standing.system_role) if standing.system_role else None
    own = () if system_role else standing.roles
    for project_id, role in own:
        if project_id in standing.visible_projects:
            roles.setdefault(project_id, set()).add(ProjectRole(role))
    actor = Actor(kind="user", label=history.holder, user_id=history.user_id, system_role=system_role)
    for grant in lent or ():
        if grant.project_id is None:
            role = SystemRole(grant.role)
            actor = replace(
                actor,
                system_role=actor.system_role or role,
                emergency_id=grant.pk,
                emergency_roles=frozenset({role}),
            )
        elif grant.project_id in standing.visible_projects:
            roles.setdefault(grant.project_id, set()).add(ProjectRole(grant.role))
            actor = replace(actor, emergency_id=grant.pk)
    return replace(
        actor,
        project_roles={pk: frozenset(names) for pk, names in roles.items()},
        clearance=get_level(standing.clearance),
    )


def build_tools(history: AccountHistory, standing: Standing) -> list[Actor]:
    """A service account acts by its tokens alone, each in its project and with its scopes."""
    return [
        Actor(
            kind="service_account",
            label=history.holder,
            service_account_id=history.account_id,
            scopes=frozenset(token.scopes),
            system_role=get_token_role("", token.scopes),
            project_roles={
                token.project_id: frozenset(ProjectRole(role) for pk, role in standing.roles if pk == token.project_id)
            }
            if token.project_id in standing.visible_projects
            else {},
            clearance=get_level(standing.clearance),
        )
        for token in standing.tokens
    ]
