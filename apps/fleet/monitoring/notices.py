"""Who is notified of alarms: the owner of the monitor, and whoever may acknowledge them."""

from __future__ import annotations

from django.utils.translation import gettext_lazy as _

from apps.core.actors import ProjectRole
from apps.fleet.monitoring.addresses import build_alarm_path
from apps.fleet.monitoring.models import Alarm, Retraining
from apps.fleet.monitoring.states import Cause
from apps.platform.accounts.models import Membership
from apps.platform.notices.kinds import NoticeKind
from apps.platform.notices.outbox import queue_notices, settle_notices
from apps.platform.notices.states import Channel
from deepseek.messages import Message, restore_message

OPENED, RETRAINING_FAILED = "alarm.opened", "retraining.failed"
KINDS = {
    OPENED: NoticeKind(
        label=_("Alarm of a monitor"),
        description=_(
            "A model in use is worse than its monitor allows, or answers nothing; for engineers and approvers."
        ),
        channels=frozenset({Channel.BELL, Channel.MAIL}),
    ),
    RETRAINING_FAILED: NoticeKind(
        label=_("Retraining failed"),
        description=_("What an alarm began by your plan of retraining has failed."),
        channels=frozenset({Channel.BELL}),
    ),
}
READERS = (ProjectRole.ENGINEER, ProjectRole.APPROVER)


def notify_of_alarm(alarm: Alarm) -> None:
    """In the transaction that opens it."""
    names = {"monitor": alarm.monitor.name, "model": alarm.monitor.model.name}
    if alarm.cause == Cause.SILENCE:
        message = Message("{monitor}: {model} answers nothing any more.", **names)
    else:
        message = Message("{monitor}: {model} is worse than its line.", **names)
    people = Membership.objects.filter(project=alarm.project_id, role__in=READERS, user__isnull=False)
    owner = alarm.monitor.grant.get("user")
    queue_notices(
        kind=OPENED,
        message=message,
        path=build_alarm_path(alarm),
        recipients={*people.values_list("user_id", flat=True), *([owner] if owner else [])},
        subject=alarm,
        project=alarm.project,
    )


def settle_alarm(alarm: Alarm) -> None:
    """Somebody has read it: nobody else needs to."""
    settle_notices(kind=OPENED, subject=alarm)


def notify_of_failed_retraining(retraining: Retraining) -> None:
    """Whoever planned it, in the transaction that ends it."""
    owner = retraining.grant.get("user")
    cause = restore_message(retraining.state_reason)
    queue_notices(
        kind=RETRAINING_FAILED,
        message=Message("{monitor}: the retraining has failed. {cause}", monitor=retraining.monitor.name, cause=cause),
        path=build_alarm_path(retraining.alarm),
        recipients=[owner] if owner else [],
        subject=retraining,
        project=retraining.project,
    )
