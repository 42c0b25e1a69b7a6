"""Who is notified that a schedule could not submit: whoever created it, and the project's webhooks."""

from __future__ import annotations

from django.utils.translation import gettext_lazy as _

from apps.core.actors import SystemRole
from apps.platform.accounts.models import User
from apps.platform.calendars.addresses import build_page_url
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
    queue_notices(
        kind=SCHEDULE_FAILED,
        message=message,
        path=build_page_url("schedule", schedule.project, schedule.pk),
        recipients=list_recipients(schedule),
        subject=schedule,
        project=schedule.project,
    )


def list_recipients(schedule: Schedule) -> list[int]:
    """Ids of users: its creator; the system administrators for one that a command of the plane created."""
    if schedule.grant.get("user"):
        return [schedule.grant["user"]]
    if schedule.project_id is not None:
        return []
    administrators = User.objects.filter(system_role=SystemRole.SYSTEM_ADMIN, is_active=True)
    return list(administrators.values_list("pk", flat=True))
