"""What pages and REST read of approvals. What the auditor reads is recorded; a member reads of their own projects."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db.models import Exists, F, OuterRef, Q, Subquery
from django.db.models.functions import Now

from apps.core import policy
from apps.core.actors import Actor, ProjectRole, SystemRole
from apps.core.errors import NotFound, PlaneError
from apps.core.request_values import validate_choice
from apps.platform.accounts.models import CredentialChange, HolderKind, Project, ServiceAccountHolder
from apps.platform.accounts.token_holders import list_holders
from apps.platform.approvals.differences import MAX_CHANGES, Change, find_changes, iter_differences
from apps.platform.approvals.models import Approval, ApprovalPolicy, ApprovalQuerySet, Look, Remark, Vote
from apps.platform.approvals.seen_state import News, OwnActs, list_news
from apps.platform.approvals.states import ApprovalState
from apps.platform.approvals.subjects import APPROVAL_SUBJECTS
from apps.platform.approvals.terms import DEFAULT_TERMS, Terms, query_eligible_voters
from apps.platform.audit.models import AuditRecord
from apps.platform.audit.queries import build_event
from apps.platform.audit.services import record
from deepseek.messages import N_

MAX_ID = 2**63 - 1
LARGE = ("facts", "void_changes")  # what a list leaves in the database
DECIDED = "decided"  # every state but pending


def list_approvals(actor: Actor, project: Project, *, state: str = "", mine: bool = False) -> ApprovalQuerySet:
    """The approvals of a project, to be paged by `-id`, with `given`.

    `state`: one of ApprovalState, `decided` for all that have ended, "" for every; Invalid for another.
    `mine`: those alone that wait for this person's vote.
    """
    policy.require(actor, "approval.view", project)
    states = [*ApprovalState.values, DECIDED]
    validate_choice("state", state, states, N_("There is no state {found!r}."))
    record_auditor_reading(actor, project, after={"state": state} if state else {})
    approvals = query_waiting_for(actor) if mine else Approval.objects.visible_to(actor)
    approvals = approvals.filter(project=project).with_given().defer(*LARGE)
    if state == DECIDED:
        return approvals.exclude(state=ApprovalState.PENDING)
    return approvals.filter(state=state) if state else approvals


def get_approval(actor: Actor, project: Project, pk: int) -> Approval:
    """The approval `pk` of this project with `given` and `due`; NotFound."""
    policy.require(actor, "approval.view", project)
    visible = Approval.objects.visible_to(actor).filter(project=project).select_related("project")
    approval = visible.with_given().with_due().filter(pk=pk).first() if 0 < pk <= MAX_ID else None
    if approval is None:
        raise NotFound("This project has no approval {pk}.", pk=pk, field="id")
    record_auditor_reading(actor, project, obj=approval)
    return approval


def record_auditor_reading(actor: Actor, project: Project, **about: Any) -> None:
    if actor.system_role is SystemRole.AUDITOR:
        record(actor=actor, action="approval.view", project_id=project.pk, **about)


def query_waiting_for(actor: Actor) -> ApprovalQuerySet:
    """Pending approvals of every project that this person may decide on; without those they asked for or voted on, and
    those of which they asked the requester something that is not answered yet."""
    projects = [pk for pk, roles in actor.project_roles.items() if ProjectRole.APPROVER in roles]
    if actor.user_id is None or not projects:
        return Approval.objects.none()
    holding, holding_earlier = (
        ServiceAccountHolder.objects.filter(service_account=OuterRef(requester), user_id=actor.user_id)
        for requester in ("requester_service_account", "follows__requester_service_account")
    )
    unconfirmed = CredentialChange.objects.filter(user_id=actor.user_id, confirmed_at=None)
    voted = Vote.objects.filter(approval=OuterRef("pk"), user_id=actor.user_id)
    newer = Remark.objects.filter(approval=OuterRef("approval"), pk__gt=OuterRef("pk"))
    asking = Remark.objects.filter(approval=OuterRef("pk"), user_id=actor.user_id, asks=True).filter(~Exists(newer))
    return (
        Approval.objects.filter(project_id__in=projects, state=ApprovalState.PENDING, deadline_at__gt=Now())
        .exclude(requester_user_id=actor.user_id)
        .exclude(follows__requester_user_id=actor.user_id)
        .filter(~Exists(holding), ~Exists(holding_earlier))
        .filter(~Exists(asking))
        .filter(~Exists(unconfirmed))  # in the same query: every page of an approver counts these
        .with_given()
        .filter(~Exists(voted) | Q(given__gte=F("needed")))  # enough count again: who voted may carry it out
    )


def list_votes(approval: Approval) -> list[Vote]:
    """The votes in order, each with `counts`: whether it still does. At most the policy's ten and one rejection."""
    counting = approval.votes.counting(approval.project_id).filter(pk=OuterRef("pk"))
    return list(approval.votes.annotate(counts=Exists(counting)).order_by("pk"))


@dataclass(frozen=True, slots=True)
class PersonBehind:
    """Somebody who counts as the requester, because they are behind the service account that asked."""

    person: str
    kind: str  # of HolderKind

    @property
    def label(self) -> str:
        return str(HolderKind(self.kind).label)


def list_people_behind(approval: Approval) -> list[PersonBehind]:
    """Who stands behind the service account that asked, and why; nobody where a person asked."""
    if approval.requester_service_account_id is None:
        return []
    rows = list_holders(approval.requester_service_account_id).order_by("pk")
    return [PersonBehind(row.user.username, row.kind) for row in rows]


def list_remarks(approval: Approval) -> list[Remark]:
    """Questions and answers in order; checks.REMARKS at most."""
    return list(approval.remarks.order_by("pk"))


def get_ending(approval: Approval) -> dict[str, str] | None:
    """Who ended it and why, as the trail has it; None while it is pending."""
    if not approval.ended:
        return None
    action = f"approval.{approval.state}"
    row = AuditRecord.objects.filter(object_type="approval", object_id=str(approval.pk), action=action).first()
    return {"who": row.actor, "reason": str(build_event(row).body.get("reason", ""))} if row else None


def query_unanswered(actor: Actor) -> ApprovalQuerySet:
    """This person's pending requests whose newest remark is a question that nobody has answered."""
    if actor.user_id is None:
        return Approval.objects.none()
    newest = Remark.objects.filter(approval=OuterRef("pk")).order_by("-pk").values("asks")[:1]
    mine = Approval.objects.filter(requester_user_id=actor.user_id, project_id__in=actor.project_ids)
    return (
        mine.filter(state=ApprovalState.PENDING, deadline_at__gt=Now())
        .annotate(open=Subquery(newest))
        .filter(open=True)
    )


def count_possible_voters(approval: Approval) -> int:
    """How many people could still give a vote: eligible, and not among those who have."""
    voted = approval.votes.values("user_id")
    eligible = query_eligible_voters(approval)
    return eligible.exclude(pk__in=voted).count()


@dataclass(frozen=True, slots=True)
class ChangesSinceLook:
    """What changed since somebody looked, and when that was."""

    at: datetime
    news: list[News]
    facts: list[Change]  # between the request they saw and this one, where they are two


def get_news(look: Look | None, approval: Approval) -> ChangesSinceLook | None:
    """What this person has not been told yet; None on a first look, while nothing is new, and once they ended it."""
    if look is None or not look.before or look.before_at is None:
        return None
    before, now, facts = json.loads(look.before), json.loads(look.shown), []
    own = get_own_acts(approval, look.user_id) if before != now else None
    if own is None or own.ended:
        return None
    if before["approval"] != approval.pk and before["facts"] != approval.facts_digest:
        earlier = (
            Approval.objects.filter(pk=before["approval"], project=approval.project_id).values_list("facts").first()
        )
        facts = (
            list(iter_differences(json.loads(earlier[0]), json.loads(approval.facts)))[:MAX_CHANGES] if earlier else []
        )
    news = list_news(before, now, facts, own)
    return ChangesSinceLook(look.before_at, news, facts) if news else None


def get_own_acts(approval: Approval, person: int) -> OwnActs:
    """The votes and remarks of this person, and whether one of their acts ended the request."""
    votes = list(approval.votes.order_by("-pk").values_list("pk", "user_id"))
    remarks = approval.remarks.filter(user_id=person).values_list("pk", flat=True)
    decided = approval.state in (ApprovalState.APPROVED, ApprovalState.REJECTED) and votes[:1] and votes[0][1] == person
    withdrawn = approval.state == ApprovalState.WITHDRAWN and approval.requester_user_id == person
    return OwnActs(
        vote=next((pk for pk, user in votes if user == person), None),
        remarks=frozenset(remarks),
        ended=bool(decided or withdrawn),
    )


def is_awaiting_answer(approval: Approval, person: int | None) -> bool:
    """Whether the newest remark is a question of this person, which the requester has not answered yet."""
    newest = approval.remarks.order_by("-pk").first()
    return newest is not None and newest.asks and newest.user_id == person


@dataclass(frozen=True, slots=True)
class Standing:
    """What has changed since it was asked for; `unknown` says why that cannot be told."""

    changes: list[Change]
    unknown: str = ""


def get_standing(approval: Approval) -> Standing:
    """The facts of a pending approval compared with those that stand, without reading bytes."""
    if approval.state != ApprovalState.PENDING:
        return Standing([])
    try:
        return Standing(find_changes(approval))
    except PlaneError as failure:
        return Standing([], failure.message)


def list_policies(actor: Actor, project: Project) -> list[dict[str, Any]]:
    """What every subject type takes in this project; one query."""
    policy.require(actor, "project.view", project)
    rows = {row.subject_type: row for row in ApprovalPolicy.objects.filter(project=project)}
    return [
        {
            "subject_type": key,
            "label": str(subject.label),
            "needed": terms.needed,
            "deadline_hours": terms.deadline_hours,
            "is_default": key not in rows,
        }
        for key, subject in APPROVAL_SUBJECTS.items()
        for terms in [Terms(rows[key].needed, rows[key].deadline_hours) if key in rows else DEFAULT_TERMS]
    ]
