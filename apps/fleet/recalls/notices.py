"""Who is told of recalls: whoever decides in the project and whoever works in it, and at the end who started it."""

from __future__ import annotations

from django.urls import reverse
from django.utils.translation import gettext_lazy as _

from apps.core.actors import Actor, ProjectRole
from apps.fleet.recalls.models import Recall
from apps.platform.accounts.models import Membership
from apps.platform.notices.kinds import NoticeKind
from apps.platform.notices.outbox import queue_notices
from apps.platform.notices.states import Channel
from deepseek.messages import Message

STARTED, ENDED = "recall.started", "recall.ended"
KINDS = {
    STARTED: NoticeKind(
        label=_("Recall started"),
        description=_("Somebody recalls data or a model: versions are blocked, devices roll back."),
        channels=frozenset({Channel.BELL, Channel.MAIL}),
    ),
    ENDED: NoticeKind(
        label=_("Recall completed"),
        description=_("No active device carries what was recalled any more."),
        channels=frozenset({Channel.BELL, Channel.MAIL}),
    ),
}


def list_members(recall: Recall, *roles: ProjectRole) -> set[int]:
    rows = Membership.objects.filter(project=recall.project_id, role__in=roles, user__isnull=False)
    return set(rows.values_list("user_id", flat=True))


def notify_started(recall: Recall, actor: Actor) -> None:
    """In the transaction that starts it: approvers and engineers, but not who did it."""
    message = Message(
        "{who} recalls {subject}: {reason}", who=actor.label, subject=recall.subject_label, reason=recall.reason
    )
    people = list_members(recall, ProjectRole.APPROVER, ProjectRole.ENGINEER) - {actor.user_id or 0}
    queue(recall, STARTED, message, people)


def notify_ended(recall: Recall) -> None:
    """In the transaction that ends it."""
    message = Message("The recall of {subject} is completed.", subject=recall.subject_label)
    people = list_members(recall, ProjectRole.APPROVER) | (
        {recall.started_by_user} if recall.started_by_user else set()
    )
    queue(recall, ENDED, message, people)


def queue(recall: Recall, kind: str, message: Message, people: set[int]) -> None:
    project = recall.project
    path = reverse("recalls:detail", args=[project.slug, recall.pk])
    queue_notices(kind=kind, message=message, path=path, recipients=people, subject=recall, project=project)
