"""What pages and REST read of schedules."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from django.db.models import OuterRef, QuerySet, Subquery

from apps.core.actors import Actor
from apps.core.errors import NotFound
from apps.core.request_values import validate_choice
from apps.platform.accounts.models import Project
from apps.platform.calendars import permissions
from apps.platform.calendars.models import Occurrence, Schedule, ScheduleQuerySet
from apps.platform.calendars.recurrence import list_next_times
from apps.platform.calendars.states import Outcome, ScheduleState
from apps.platform.nodes.samples import get_database_now

MAX_ID = 2**63 - 1
NEXT_TIMES = 5  # that a page and a preview show


def list_schedules(actor: Actor, project: Project | None, *, state: str = "") -> ScheduleQuerySet:
    """The schedules of the project, or of the plane for None; Invalid for an unknown state."""
    permissions.require(actor, "schedule.view", project)
    validate_choice("state", state, ScheduleState.values)
    rows = Schedule.objects.visible_to(actor).filter(project=project).select_related("project")
    return rows.filter(state=state) if state else rows


def get_schedule(actor: Actor, project: Project | None, pk: int) -> Schedule:
    """The schedule `pk` of this project, or of the plane for None; NotFound."""
    schedule = list_schedules(actor, project).filter(pk=pk).first() if 0 < pk <= MAX_ID else None
    if schedule is None:
        if project is None:
            raise NotFound("The plane has no schedule {pk}.", pk=pk, field="id")
        raise NotFound("This project has no schedule {pk}.", pk=pk, field="id")
    return schedule


def list_occurrences(schedule: Schedule, *, outcome: str = "") -> QuerySet[Occurrence]:
    """The times of a schedule that the caller may see, to be paged by `-id`; Invalid for an unknown outcome."""
    validate_choice("outcome", outcome, Outcome.values)
    rows = Occurrence.objects.filter(schedule=schedule)
    return rows.filter(outcome=outcome) if outcome else rows


def load_last_occurrences(schedules: Sequence[Schedule]) -> dict[int, Occurrence]:
    """{schedule: what became of its last time}, in one query that reads one row of each."""
    newest = Occurrence.objects.filter(schedule=OuterRef("pk")).order_by("-id").values("pk")[:1]
    chosen = Schedule.objects.filter(pk__in=[schedule.pk for schedule in schedules])
    rows = Occurrence.objects.filter(pk__in=chosen.annotate(newest=Subquery(newest)).values("newest"))
    return {row.schedule_id: row for row in rows}


def list_coming_times(schedule: Schedule) -> list[datetime]:
    """The next times of an active schedule."""
    if schedule.state != ScheduleState.ACTIVE:
        return []
    return list_next_times(schedule.cron, schedule.timezone, get_database_now(), NEXT_TIMES)
