"""A schedule of noop jobs, every night at 02:30 in Berlin."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from apps.core.actors import PlaneRole, build_plane_actor
from apps.platform.accounts.models import User
from apps.platform.calendars.models import Schedule
from apps.platform.calendars.services import create_schedule, fire_due_schedules, firing

NIGHT = datetime(2026, 7, 2, 0, 30, tzinfo=UTC)  # 02:30 in Berlin
FIELDS = {
    "name": "nightly",
    "target": "job",
    "request": {"kind": "noop"},
    "cron": "30 2 * * *",
    "timezone": "Europe/Berlin",
}


@pytest.fixture
def create(engineer, actor_for, project):
    """create(**fields) -> a schedule of the engineer's."""

    def make(who: User | None = None, **fields) -> Schedule:
        return create_schedule(actor=actor_for(who or engineer), project=project, **{**FIELDS, **fields})

    return make


@pytest.fixture
def schedule(create):
    """Its next time is NIGHT."""
    made = create()
    Schedule.objects.update(next_at=NIGHT)
    made.refresh_from_db()
    return made


@pytest.fixture
def fire(monkeypatch):
    """fire(at) -> how many times were dealt with, as if it were `at`."""

    def run(at: datetime = NIGHT) -> int:
        monkeypatch.setattr(firing, "get_database_now", lambda: at)
        return fire_due_schedules(actor=build_plane_actor(PlaneRole.DISPATCHER))

    return run


@pytest.fixture
def occurrences():
    """occurrences(schedule) -> [(outcome, count)], oldest first."""
    return lambda schedule: list(schedule.occurrences.order_by("id").values_list("outcome", "count"))
