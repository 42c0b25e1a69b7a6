"""Terms of an approval: votes needed, deadline, and eligible approvers."""

from __future__ import annotations

from dataclasses import dataclass

from django.db.models import F, QuerySet

from apps.core.actors import ProjectRole
from apps.platform.accounts.confirmations import exclude_expired, exclude_unconfirmed
from apps.platform.accounts.models import Membership, Project, ServiceAccountHolder, User
from apps.platform.approvals.models import Approval, ApprovalPolicy

NEEDED_RANGE = (1, 10)
DEADLINE_HOURS_RANGE = (1, 720)


@dataclass(frozen=True, slots=True)
class Terms:
    needed: int
    deadline_hours: int


DEFAULT_TERMS = Terms(needed=1, deadline_hours=72)


def get_terms(project: Project, subject_type: str) -> Terms:
    """What the security administrator set for this project and type, or DEFAULT."""
    row = ApprovalPolicy.objects.filter(project=project, subject_type=subject_type).first()
    return Terms(row.needed, row.deadline_hours) if row else DEFAULT_TERMS


def query_eligible_people(
    project_id: int, *, requester_user_id: int | None, requester_service_account_id: int | None
) -> QuerySet[User]:
    """Who may vote: active people with the role approver in the project whose credentials are confirmed, but never
    who asked, nor the people behind a service account that did."""
    approvers = Membership.objects.filter(
        project_id=project_id, role=ProjectRole.APPROVER, project__security_label__lte=F("user__clearance")
    )
    people = exclude_expired(User.objects.filter(pk__in=approvers.values("user_id"))).exclude(pk=requester_user_id or 0)
    holders = ServiceAccountHolder.objects.filter(service_account=requester_service_account_id or 0)
    return exclude_unconfirmed(people).exclude(pk__in=holders.values("user"))


def query_eligible_voters(approval: Approval) -> QuerySet[User]:
    """Who may vote on this request: neither who asked for it, nor who asked for the one that it follows."""
    people = query_eligible_people(
        approval.project_id,
        requester_user_id=approval.requester_user_id,
        requester_service_account_id=approval.requester_service_account_id,
    )
    if approval.follows is None:
        return people
    holders = ServiceAccountHolder.objects.filter(service_account=approval.follows.requester_service_account_id or 0)
    return people.exclude(pk=approval.follows.requester_user_id or 0).exclude(pk__in=holders.values("user"))
