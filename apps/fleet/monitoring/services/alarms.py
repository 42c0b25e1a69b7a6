"""Alarms: opened and closed by what monitors find, acknowledged by people."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from django.db import transaction
from django.utils import timezone

from apps.core.actors import Actor
from apps.core.errors import Invalid
from apps.core.policy import require
from apps.fleet.monitoring.models import Alarm, Monitor
from apps.fleet.monitoring.notices import notify_of_alarm, settle_alarm
from apps.fleet.monitoring.services.retrainings import begin_retraining
from apps.fleet.monitoring.states import AlarmState, Cause
from apps.platform.audit.services import change_state, record
from deepseek.messages import N_, Message

REASON_LENGTH = 500


def acknowledge_alarm(*, actor: Actor, alarm: Alarm, reason: str) -> Alarm:
    """Say that it was read and why it is so. It is closed once the monitor finds it over, or by a person."""
    require(actor, "alarm.acknowledge", alarm)
    reason = reason.strip()
    if not 0 < len(reason) <= REASON_LENGTH:
        raise Invalid(
            "A reason has 1 to {most} characters; this one has {found}.",
            most=REASON_LENGTH,
            found=len(reason),
            field="reason",
            limit=REASON_LENGTH,
            hint=N_("Say what you found, or what is done about it."),
        )
    facts: dict[str, Any] = {"acknowledged_at": timezone.now(), "acknowledged_by": actor.label[:200]}
    with transaction.atomic():
        change_state(alarm, AlarmState.ACKNOWLEDGED, actor=actor, reason=reason, **facts)
        Alarm.objects.filter(pk=alarm.pk).update(reason=reason)
        settle_alarm(alarm)
    alarm.reason = reason
    return alarm


def close_alarm(*, actor: Actor, alarm: Alarm, reason: str = "") -> Alarm:
    """End an acknowledged alarm; the next of its cause is opened after the cool-down."""
    require(actor, "alarm.close", alarm)
    return move_to_closed(actor, alarm, reason[:REASON_LENGTH])


def move_to_closed(actor: Actor, alarm: Alarm, reason: str) -> Alarm:
    facts: dict[str, Any] = {"closed_at": timezone.now(), "closed_by": actor.label[:200]}
    return change_state(alarm, AlarmState.CLOSED, actor=actor, reason=reason, **facts)


# -- what the dispatcher finds, under the lock of the monitor -------------------------------------------------------
def find_active_alarm(monitor: Monitor, cause: Cause) -> Alarm | None:
    return Alarm.objects.filter(monitor=monitor, cause=cause).exclude(state=AlarmState.CLOSED).first()


def note_bad(alarm: Alarm, at: datetime) -> None:
    """One more bad window of an alarm that is not closed: counted, and told nobody again."""
    if at > alarm.last_bad_at:
        Alarm.objects.filter(pk=alarm.pk).update(windows=alarm.windows + 1, last_bad_at=at)


def is_cooling_down(monitor: Monitor, cause: Cause, now: datetime) -> bool:
    """Whether the last alarm of this cause was closed within the cool-down."""
    after = now - timedelta(hours=monitor.cooldown_hours)
    return Alarm.objects.filter(monitor=monitor, cause=cause, closed_at__gt=after).exists()


def open_alarm(
    actor: Actor, monitor: Monitor, cause: Cause, evidence: dict[str, Any], *, since: datetime, at: datetime
) -> Alarm:
    alarm = Alarm.objects.create(
        project=monitor.project,
        monitor=monitor,
        cause=cause,
        evidence=evidence,
        since=since,
        last_bad_at=at,
        opened_at=timezone.now(),
    )
    facts = {"monitor": monitor.name, "cause": cause.value, "since": since}
    record(actor=actor, action="alarm.open", obj=alarm, after=facts)
    notify_of_alarm(alarm)
    begin_retraining(actor, alarm)
    return alarm


def close_if_over(actor: Actor, monitor: Monitor, cause: Cause) -> None:
    """Close an alarm that a person has read; one that nobody has read stays open."""
    alarm = find_active_alarm(monitor, cause)
    if alarm is not None and alarm.state == AlarmState.ACKNOWLEDGED:
        move_to_closed(actor, alarm, Message("The monitor finds nothing bad any more."))
