"""Who had which grant at a time in the past, and who could do an action."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db.models import Q, QuerySet
from django.utils import timezone

from apps.core import policy
from apps.core.actors import Actor, ProjectRole, SystemRole
from apps.core.errors import Invalid
from apps.core.lists.listing import parse_day, read_filter_values
from apps.core.request_values import validate_choice
from apps.platform.access_history.histories import (
    AccountHistory,
    load_people,
    load_projects,
    load_service_accounts,
)
from apps.platform.access_history.standings import Projects, Standing, build_standings, can_do
from apps.platform.accounts.models import Membership, Project, ServiceAccount, User
from apps.platform.audit.models import GRANT_CHANGES, AuditRecord
from apps.platform.audit.services import record
from apps.platform.emergency.models import EmergencyGrant
from apps.platform.recertification.models import Decision, GrantReview
from deepseek.messages import N_

FILTERS = ("on", "time", "kind", "project", "action", "q")
PERSON, SERVICE_ACCOUNT = "person", "service_account"
KINDS = (PERSON, SERVICE_ACCOUNT)
NAMES = {PERSON: "username", SERVICE_ACCOUNT: "name"}  # the field that names one
BATCH = 500  # accounts that are in memory at once
CLOCK = re.compile(r"(?:[01]\d|2[0-3]):[0-5]\d")
HUMAN_ACTIONS = sorted(
    action
    for action, roles in policy.ACTIONS.items()
    if any(isinstance(role, ProjectRole | SystemRole) for role in roles)
)


@dataclass(frozen=True, slots=True)
class Question:
    """A day (`start` to `end`) or a moment (`end` is None), and what narrows the answer."""

    start: datetime
    end: datetime | None
    kind: str = PERSON
    project: Project | None = None
    action: str = ""
    text: str = ""

    @property
    def last(self) -> datetime:
        return self.end or self.start

    @property
    def project_id(self) -> int | None:
        return self.project.pk if self.project else None


@dataclass(slots=True)
class HolderAnswer:
    """An account and its standings, in the order of time; `projects`: names of those that it has to do with."""

    pk: int
    kind: str
    history: AccountHistory
    standings: list[Standing]
    projects: Projects

    def get_slug(self, project_id: int | None) -> str:
        if project_id is None or project_id not in self.projects:
            return f"#{project_id}"
        return self.projects[project_id][0]

    @property
    def is_proven(self) -> bool:
        return not any(standing.unproven for standing in self.standings)


def parse_question(actor: Actor, params: Mapping[str, Any]) -> Question:
    """The question that a query asks: of today where it names no day. Raises Invalid."""
    policy.require(actor, "access_history.view")
    values = read_filter_values(params, FILTERS)
    validate_choice("kind", values["kind"], KINDS)
    validate_choice("action", values["action"], HUMAN_ACTIONS)
    day = values["on"] or "today"
    start, end, now = parse_day("on", day), parse_day("on", day, end=True), timezone.now()
    assert start is not None  # noqa: S101 - the text is not empty
    assert end is not None  # noqa: S101
    if values["time"]:
        if not CLOCK.fullmatch(values["time"]):
            raise Invalid(
                "{text!r} is no time of a day.",
                text=values["time"][:40],
                field="time",
                limit="00:00 to 23:59",
                hint=N_("Leave it empty for the whole day."),
            )
        hours, minutes = (int(part) for part in values["time"].split(":"))
        start, end = timezone.localtime(start).replace(hour=hours, minute=minutes), None
    if start > now:
        raise Invalid(
            "{day} has not come yet.",
            day=f"{day} {values['time']}".strip(),
            code="out_of_range",
            field="on",
            limit="today",
        )
    project = find_project(actor, values["project"])
    if project is not None and values["action"] in policy.PLANE_ACTIONS:
        raise Invalid(
            "{action} belongs to no project.",
            action=values["action"],
            field="project",
            hint=N_("Leave out the project."),
        )
    end = min(end, now) if end is not None else None
    return Question(start, end, values["kind"] or PERSON, project, values["action"], values["q"])


def find_project(actor: Actor, slug: str) -> Project | None:
    if not slug:
        return None
    project = Project.objects.visible_to(actor).filter(slug=slug).first()
    if project is None:
        raise Invalid("There is no {name} {found!r}.", name="project", found=slug[:40], field="project")
    return project


def search_accounts(actor: Actor, question: Question) -> QuerySet[Any]:
    """The people, or service accounts, that the answer is about. The reading is recorded.

    With a project or an action every account that may ever have had it is looked at, BATCH at a time, and those that
    had it stay.
    """
    policy.require(actor, "access_history.view")
    record(
        actor=actor,
        action="access_history.view",
        project_id=question.project_id,
        after={
            "from": question.start.isoformat(),
            "until": question.last.isoformat(),
            "kind": question.kind,
            "action": question.action,
            "text": question.text,
        },
    )
    rows = list_candidates(question)
    if question.project is None and not question.action:
        return rows
    keys: list[int] = []
    last = 0
    while batch := list(rows.filter(pk__gt=last).order_by("pk")[:BATCH]):
        last = batch[-1].pk
        keys += [answer.pk for answer in build_answers(batch, question) if matches(answer, question)]
    return rows.filter(pk__in=keys)


def list_candidates(question: Question) -> QuerySet[Any]:
    """Accounts that there were, and that may have had to do with the project, whether or not they had then."""
    rows: QuerySet[Any]
    if question.kind == SERVICE_ACCOUNT:
        rows = ServiceAccount.objects.all()
        if question.project is not None:
            rows = rows.filter(project=question.project)
    else:
        rows = User.objects.all()
        if question.project is not None and not is_administrators(question.action):
            rows = rows.filter(pk__in=list_past_members(question.project))
    rows = rows.filter(created_at__lte=question.last)
    return rows.filter(**{f"{NAMES[question.kind]}__icontains": question.text}) if question.text else rows


def is_administrators(action: str) -> bool:
    """Whether administrators, who belong to no project, do it too."""
    return any(isinstance(role, SystemRole) for role in policy.ACTIONS.get(action, ()))


def list_past_members(project: Project) -> set[int]:
    """Ids of the people who are or ever were in a project, by a role, a token or an emergency grant."""
    records = AuditRecord.objects.filter(project_id=project.pk, object_type="user", action__in=GRANT_CHANGES)
    ids = {int(pk) for pk in records.order_by().values_list("object_id", flat=True).distinct().iterator()}
    ids |= set(Membership.objects.filter(project=project, user__isnull=False).values_list("user_id", flat=True))
    ids |= set(EmergencyGrant.objects.filter(project=project).values_list("user_id", flat=True))
    ids |= set(project.tokens.filter(user__isnull=False).values_list("user_id", flat=True))
    gone = Q(decision=Decision.REVOKED) | Q(suspended_at__isnull=False)
    revoked = GrantReview.objects.filter(gone, project=project, user_id__isnull=False)
    return ids | {pk for pk in revoked.values_list("user_id", flat=True) if pk is not None}


def build_answers(accounts: Sequence[Any], question: Question) -> list[HolderAnswer]:
    """The standings of these accounts; as many queries for many as for one."""
    if not accounts:
        return []
    is_people = isinstance(accounts[0], User)
    load: Any = load_people if is_people else load_service_accounts
    histories: list[AccountHistory] = load(accounts, question.start, question.last)
    ids = {project_id for history in histories for project_id in history.list_project_ids()}
    projects = load_projects(ids | ({question.project.pk} if question.project else set()))
    return [
        HolderAnswer(
            pk=account.pk,
            kind=PERSON if is_people else SERVICE_ACCOUNT,
            history=history,
            standings=build_standings(history, projects, question.start, question.end),
            projects=projects,
        )
        for account, history in zip(accounts, histories, strict=True)
    ]


def matches(answer: HolderAnswer, question: Question) -> bool:
    """Whether the account could do the action, or had any grant in the project, at any time of the question."""
    if question.action:
        return any(
            can_do(answer.history, standing, question.action, question.project_id) for standing in answer.standings
        )
    return any(has_grant_in(standing, question.project_id) for standing in answer.standings)


def has_grant_in(standing: Standing, project_id: int | None) -> bool:
    return (
        any(pk == project_id for pk, _role in standing.roles)
        or any(token.project_id == project_id for token in standing.tokens)
        or any(grant.project_id == project_id for grant in standing.emergency)
    )


@dataclass(frozen=True, slots=True)
class TrailLimits:
    """How far the records reach back, for a note: None where there is none."""

    begins_at: datetime | None
    is_before: bool  # the question is about a time before the first record


def get_trail_limits(question: Question) -> TrailLimits:
    first = AuditRecord.objects.order_by("id").values_list("at", flat=True).first()
    return TrailLimits(first, first is None or question.start < first - timedelta(seconds=1))
