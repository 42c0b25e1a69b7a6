"""Who is told that a schedule could not submit: whoever created it, and the project's webhooks."""

from __future__ import annotations

from django.urls import reverse
from django.utils.translation import gettext_lazy as _

from apps.platform.calendars.models import Schedule
from apps.platform.notices.kinds import NoticeKind
from apps.platform.notices.outbox import queue_notices
from apps.platform.notices.states import Channel
from deepseek.messages import Message

SCHEDULE_FAILED = "schedule.failed"
SCHEDULE_FAILED_KIND = NoticeKind(
    label=_("Schedule failed"),
    description=_("A schedule that you created could not submit its request, or missed a time."),
    channels=frozenset({Channel.BELL}),
)


def notify_of_failure(schedule: Schedule, message: Message) -> None:
    """In the transaction of the occurrence."""
    person = schedule.grant.get("user")
    queue_notices(
        kind=SCHEDULE_FAILED,
        message=message,
        path=reverse("calendars:schedule", args=[schedule.project.slug, schedule.pk]),
        recipients=[person] if person else [],
        subject=schedule,
        project=schedule.project,
    )
