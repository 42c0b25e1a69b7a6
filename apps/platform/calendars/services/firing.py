"""What the dispatcher does: submit what is due, once, and note what was not submitted and why."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta

from django.db import connection, transaction

from apps.core.actors import Actor, PlaneRole, build_plane_actor
from apps.core.errors import PlaneError
from apps.core.policy import require
from apps.platform.accounts.actors import build_actor_from_grant
from apps.platform.audit.services import record
from apps.platform.calendars.models import Occurrence, Schedule
from apps.platform.calendars.notices import notify_of_failure
from apps.platform.calendars.recurrence import count_missed, find_last_time, find_next_time
from apps.platform.calendars.states import CatchUp, Outcome, Overlap, ScheduleState
from apps.platform.calendars.targets import SCHEDULE_TARGETS
from apps.platform.nodes.samples import get_database_now
from deepseek.messages import Message

log = logging.getLogger(__name__)

ON_TIME = timedelta(minutes=5)  # submitted later than so, a time was missed
KEPT_OCCURRENCES = 1000  # of a schedule


def fire_due_schedules(*, actor: Actor, limit: int = 100, stopping: Callable[[], bool] = lambda: False) -> int:
    """Submit the requests of all schedules whose time has come; how many times were dealt with.

    Each in one transaction with its occurrence and its next time, so that a dispatcher that is killed has either
    submitted it or not begun, and of several only one does.
    """
    require(actor, "schedule.fire")
    now = get_database_now()
    due = Schedule.objects.filter(state=ScheduleState.ACTIVE, next_at__lte=now).order_by("next_at")
    count = 0
    for pk in list(due.values_list("pk", flat=True)[:limit]):
        if stopping():
            break
        try:
            count += fire_schedule(actor, pk, now)
        except Exception:  # a defect in one target must not keep the others from their time
            log.exception("schedule %s", pk)
    return count


@transaction.atomic
def fire_schedule(actor: Actor, pk: int, now: datetime) -> int:
    """One schedule, if its time has still come once its row is locked; 1, or 0 if somebody was faster."""
    rows = Schedule.objects.select_related("project").filter(pk=pk, state=ScheduleState.ACTIVE, next_at__lte=now)
    skips_locked = connection.features.has_select_for_update_skip_locked
    schedule = rows.select_for_update(of=("self",), skip_locked=skips_locked).first()
    if schedule is None or schedule.next_at is None:
        return 0
    first = schedule.next_at
    last = find_last_time(schedule.cron, schedule.timezone, now)
    last = max(first, last) if last else first
    is_late = now - last > ON_TIME
    runs_last = not is_late or schedule.catch_up == CatchUp.LAST
    note_missed(actor, schedule, first, last, runs_last)
    if runs_last:
        submit_occurrence(actor, schedule, last)
    schedule.next_at = find_next_time(schedule.cron, schedule.timezone, max(now, last))
    schedule.save(update_fields=["next_at", "failures"])
    prune_occurrences(schedule)
    return 1


def note_missed(actor: Actor, schedule: Schedule, first: datetime, last: datetime, runs_last: bool) -> None:
    """One occurrence for all times that passed without a submission."""
    count = count_missed(schedule.cron, schedule.timezone, first, last) + (0 if runs_last else 1)
    if not count:
        return
    message = Message("The plane was not running then: {count} times were missed.", count=count)
    add_occurrence(actor, schedule, first, Outcome.MISSED, message, count=count)
    if not runs_last:
        notify(schedule, message)


def submit_occurrence(actor: Actor, schedule: Schedule, due_at: datetime) -> None:
    """Submit it with its creator's rights, unless what it submitted last still runs and is to be waited for."""
    target = SCHEDULE_TARGETS.get(schedule.target)
    owner = build_owner(schedule)
    if target is None or owner is None:
        message = (
            Message("Whoever created it may not submit anything any more: change its request to take it over.")
            if target
            else Message("This plane has no {target!r} to schedule any more.", target=schedule.target)
        )
        fail_occurrence(actor, schedule, due_at, message)
        return
    owner = replace(owner, request_id=f"schedule-{schedule.pk}")
    former = find_active_subject(schedule, target.is_active)
    if former is not None and schedule.overlap == Overlap.SKIP:
        message = Message("What it submitted before has not ended: {number}.", number=former)
        add_occurrence(actor, schedule, due_at, Outcome.SKIPPED, message)
        return
    try:
        with transaction.atomic():
            if former is not None and schedule.overlap == Overlap.CANCEL:
                target.cancel(owner, former, Message("Its schedule submits the next one."))
            key = f"schedule-{schedule.pk}-{due_at:%Y%m%dT%H%MZ}"
            subject_id = target.submit(owner, schedule.project, schedule.request, key)
    except PlaneError as failure:
        fail_occurrence(actor, schedule, due_at, describe_failure(failure))
        return
    schedule.failures = 0
    add_occurrence(actor, schedule, due_at, Outcome.SUBMITTED, subject_id=str(subject_id))


def build_owner(schedule: Schedule) -> Actor | None:
    """Who created it, with the rights of now; the operator of the plane's machine for what its commands created."""
    grant = schedule.grant
    if schedule.project_id is None and (grant.get("kind"), grant.get("label")) == ("plane", PlaneRole.OPERATOR):
        return build_plane_actor(PlaneRole.OPERATOR)
    return build_actor_from_grant(grant)


def describe_failure(failure: PlaneError) -> Message:
    """The first of its errors, with the field that it names."""
    error = failure.errors[0]
    text = error["message"]
    return Message("{field}: {error}", field=error["field"], error=text) if error.get("field") else Message(text)


def fail_occurrence(actor: Actor, schedule: Schedule, due_at: datetime, message: Message) -> None:
    add_occurrence(actor, schedule, due_at, Outcome.FAILED, message)
    schedule.failures += 1
    if schedule.failures == 1:  # one notice for a cause that lasts
        notify(schedule, message)


def notify(schedule: Schedule, message: Message) -> None:
    if schedule.project is None:
        text = Message("Schedule {name} of the plane: {cause}", name=schedule.name, cause=message)
    else:
        project = schedule.project.slug
        text = Message("Schedule {name} of {project}: {cause}", name=schedule.name, project=project, cause=message)
    notify_of_failure(schedule, text)


def find_active_subject(schedule: Schedule, is_active: Callable[[int], bool]) -> int | None:
    """The id of what it submitted last, if that has not ended."""
    rows = Occurrence.objects.filter(schedule=schedule, outcome=Outcome.SUBMITTED).order_by("-id")
    last = rows.values_list("subject_id", flat=True).first()
    return int(last) if last and is_active(int(last)) else None


def add_occurrence(
    actor: Actor,
    schedule: Schedule,
    due_at: datetime,
    outcome: Outcome,
    message: Message | None = None,
    *,
    count: int = 1,
    subject_id: str = "",
) -> None:
    reason = message.as_fields() if message else {}
    Occurrence.objects.create(
        schedule=schedule, due_at=due_at, outcome=outcome, reason=reason, count=count, subject_id=subject_id
    )
    record(
        actor=actor,
        action=f"schedule.{outcome.value}",
        obj=schedule,
        reason=message or "",
        after={"due_at": due_at, "count": count, "subject": subject_id},
    )


def prune_occurrences(schedule: Schedule) -> None:
    """Keep the last KEPT_OCCURRENCES."""
    rows = Occurrence.objects.filter(schedule=schedule).order_by("-id")
    oldest = rows.values_list("pk", flat=True)[KEPT_OCCURRENCES : KEPT_OCCURRENCES + 1].first()
    if oldest is not None:
        Occurrence.objects.filter(schedule=schedule, pk__lte=oldest).delete()
