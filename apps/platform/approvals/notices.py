"""Who is told of approvals: whoever can decide one that is asked for, and whoever asked when it has ended."""

from __future__ import annotations

from django.urls import reverse
from django.utils.translation import gettext_lazy as _

from apps.core.actors import Actor
from apps.platform.accounts.token_holders import list_holders
from apps.platform.approvals.models import Approval
from apps.platform.approvals.states import ApprovalState
from apps.platform.approvals.terms import query_eligible_voters
from apps.platform.notices.kinds import NoticeKind
from apps.platform.notices.outbox import queue_notices, settle_notices
from apps.platform.notices.states import Channel
from deepseek.messages import Message

REQUESTED, ENDED, REMARKED = "approval.requested", "approval.ended", "approval.remarked"
KINDS = {
    REQUESTED: NoticeKind(
        label=_("Approval requested"),
        description=_("Somebody asks for an approval that you may give."),
        channels=frozenset({Channel.BELL, Channel.MAIL}),
    ),
    ENDED: NoticeKind(
        label=_("Approval decided"),
        description=_("An approval that you asked for is approved, rejected, expired or void."),
        channels=frozenset({Channel.BELL, Channel.MAIL}),
    ),
    REMARKED: NoticeKind(
        label=_("Question or answer about an approval"),
        description=_("An approver asks for more about your request, or whoever asked answers your question."),
        channels=frozenset({Channel.BELL, Channel.MAIL}),
    ),
}


def notify_deciders(approval: Approval) -> None:
    """Tell everybody who may decide it; in the transaction that saves it."""
    people = query_eligible_voters(approval)
    message = Message("{who} asks for approval: {title}", who=approval.requester, title=approval.title)
    queue(approval, REQUESTED, message, set(people.values_list("pk", flat=True)))


def notify_requester(approval: Approval, actor: Actor) -> None:
    """Tell whoever asked how it ended, the people behind a service account too, but not who ended it; nobody needs to
    decide it any more. In the transaction of its last move."""
    settle_notices(kind=REQUESTED, subject=approval)
    queue(approval, ENDED, describe_end(approval, actor), list_requesters(approval) - {actor.user_id or 0})


def notify_of_remark(approval: Approval, actor: Actor, *, asks: bool) -> None:
    """A question goes to whoever asked for the approval, an answer to the approvers who had a question."""
    if asks:
        message = Message("{who} asks for more about: {title}", who=actor.label, title=approval.title)
        people = list_requesters(approval)
    else:
        message = Message("{who} answers about: {title}", who=actor.label, title=approval.title)
        questions = approval.remarks.filter(asks=True, user__isnull=False)
        people = set(questions.values_list("user_id", flat=True).distinct())
    queue(approval, REMARKED, message, people - {actor.user_id or 0})


def list_requesters(approval: Approval) -> set[int]:
    """Who asked: the person, or the people behind the service account."""
    if approval.requester_user_id is not None:
        return {approval.requester_user_id}
    return set(list_holders(approval.requester_service_account_id or 0).values_list("user_id", flat=True))


def describe_end(approval: Approval, actor: Actor) -> Message:
    title = approval.title
    if approval.state == ApprovalState.APPROVED:
        return Message("{who} approved; the change is done: {title}", who=actor.label, title=title)
    if approval.state == ApprovalState.REJECTED:
        return Message("{who} rejected: {title}", who=actor.label, title=title)
    if approval.state == ApprovalState.VOID:
        return Message("Void, because what was asked for has changed: {title}", title=title)
    if approval.state == ApprovalState.EXPIRED:
        return Message("Expired without a decision: {title}", title=title)
    return Message("{who} withdrew: {title}", who=actor.label, title=title)


def settle_own_notice(approval: Approval, actor: Actor) -> None:
    """Who has voted, or asked back, needs no reminder of it."""
    settle_notices(kind=REQUESTED, subject=approval, recipient_id=actor.user_id or 0)


def queue(approval: Approval, kind: str, message: Message, recipients: set[int]) -> None:
    project = approval.project
    path = reverse("approvals:detail", args=[project.slug, approval.pk])
    queue_notices(kind=kind, message=message, path=path, recipients=recipients, subject=approval, project=project)
