"""Who learns of a security alarm: security administrators."""

from __future__ import annotations

from django.urls import reverse
from django.utils.translation import gettext_lazy as _

from apps.core.actors import SystemRole
from apps.platform.accounts.models import User
from apps.platform.notices.kinds import NoticeKind
from apps.platform.notices.outbox import queue_notices, settle_notices
from apps.platform.notices.states import Channel
from apps.site.security_alarms.models import SecurityAlarm
from apps.site.security_alarms.rules import RULES, Unit
from deepseek.messages import Message

RAISED = "security_alarm.raised"
RAISED_KIND = NoticeKind(
    label=_("Security alarm"),
    description=_("A rule over the audit trail has raised an alarm; for security administrators."),
    channels=frozenset({Channel.BELL, Channel.MAIL}),
    system_role=SystemRole.SECURITY_ADMIN,
)


def notify_raised(alarm: SecurityAlarm) -> None:
    """In the transaction that raises it."""
    queue_notices(
        kind=RAISED,
        message=describe_alarm(alarm),
        path=reverse("security_alarms:list"),
        recipients=User.objects.filter(system_role=SystemRole.SECURITY_ADMIN, is_active=True).values_list(
            "pk", flat=True
        ),
        subject=alarm,
    )


def describe_alarm(alarm: SecurityAlarm) -> Message:
    facts = {"number": alarm.pk, "rule": alarm.rule, "count": alarm.count}
    if RULES[alarm.rule].unit == Unit.GIGABYTES:
        return Message("Security alarm {number}: {rule}, {count} GB.", **facts)
    return Message("Security alarm {number}: {rule}, {count} events.", **facts)


def settle_raised(alarm: SecurityAlarm) -> None:
    settle_notices(kind=RAISED, subject=alarm)
