"""Who is notified of emergency grants: the administrators, and of a project its approvers."""

from __future__ import annotations

from django.db.models import Q
from django.urls import reverse
from django.utils.translation import gettext_lazy as _

from apps.core.actors import ProjectRole, SystemRole
from apps.platform.accounts.models import Membership, User
from apps.platform.emergency.models import EmergencyGrant
from apps.platform.notices.kinds import NoticeKind
from apps.platform.notices.outbox import queue_notices, settle_notices
from apps.platform.notices.states import Channel
from deepseek.messages import Message

REQUESTED, GRANTED, ENDED = "emergency.requested", "emergency.granted", "emergency.ended"
BOTH = frozenset({Channel.BELL, Channel.MAIL})
KINDS = {
    REQUESTED: NoticeKind(
        label=_("Emergency access requested"),
        description=_("Somebody asks for emergency rights; for administrators, one of whom confirms or refuses."),
        channels=BOTH,
    ),
    GRANTED: NoticeKind(
        label=_("Emergency access granted"),
        description=_("Emergency rights are in force; for administrators, and approvers of the project."),
        channels=BOTH,
    ),
    ENDED: NoticeKind(
        label=_("Emergency access ended"),
        description=_("Emergency rights were ended, or have expired; for administrators."),
        channels=frozenset({Channel.BELL}),
    ),
}


def list_administrators() -> set[int]:
    return set(User.objects.filter(~Q(system_role=""), is_active=True).values_list("pk", flat=True))


def notify_requested(grant: EmergencyGrant) -> None:
    message = Message("{who} asks for emergency access: {reason}", who=grant.user.username, reason=grant.reason)
    queue(grant, REQUESTED, message, list_administrators() - {grant.user_id})


def notify_granted(grant: EmergencyGrant) -> None:
    settle_notices(kind=REQUESTED, subject=grant)
    message = Message(
        "{who} has emergency access until {until} UTC: {reason}",
        who=grant.user.username,
        until=f"{grant.expires_at:%Y-%m-%d %H:%M}",
        reason=grant.reason,
    )
    people = list_administrators()
    if grant.project_id is not None:
        rows = Membership.objects.filter(project=grant.project_id, role=ProjectRole.APPROVER, user__isnull=False)
        people |= set(rows.values_list("user_id", flat=True))
    queue(grant, GRANTED, message, people)


def notify_ended(grant: EmergencyGrant) -> None:
    settle_notices(kind=REQUESTED, subject=grant)
    message = Message("The emergency access of {who} was ended by {by}.", who=grant.user.username, by=grant.ended_label)
    queue(grant, ENDED, message, list_administrators() | {grant.user_id})


def notify_expired(grant: EmergencyGrant) -> None:
    """Of a request nobody is told: its notices are settled."""
    settle_notices(kind=REQUESTED, subject=grant)
    if grant.expires_at is not None:
        message = Message("The emergency access of {who} has expired.", who=grant.user.username)
        queue(grant, ENDED, message, list_administrators() | {grant.user_id})


def notify_key_created(slot: int, key: object) -> None:
    """Auditors learn that one of the two keys was replaced."""
    officers = set(User.objects.filter(system_role=SystemRole.AUDITOR, is_active=True).values_list("pk", flat=True))
    message = Message("Emergency key {slot} was created; the former one is void.", slot=slot)
    queue_notices(kind=GRANTED, message=message, path=reverse("emergency:list"), recipients=officers, subject=key)  # type: ignore[arg-type]


def queue(grant: EmergencyGrant, kind: str, message: Message, people: set[int]) -> None:
    path = reverse("emergency:detail", args=[grant.pk])
    queue_notices(kind=kind, message=message, path=path, recipients=people, subject=grant)
