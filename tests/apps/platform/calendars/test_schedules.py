"""Create, change, pause, resume, delete."""

from datetime import timedelta

import pytest
from django.utils import timezone

from apps.core.errors import Conflict, IllegalMove, Invalid, NotFound, Refused
from apps.platform.audit.models import AuditRecord
from apps.platform.calendars import services
from apps.platform.calendars.models import Schedule
from apps.platform.calendars.services import schedules
from tests.conftest import member

pytestmark = pytest.mark.django_db


def test_it_begins_with_its_next_time(create):
    schedule = create(cron="@daily", timezone="UTC")
    now = timezone.now()
    assert (schedule.state, schedule.cron) == ("active", "0 0 * * *")
    assert now < schedule.next_at <= now + timedelta(days=1)
    assert AuditRecord.objects.filter(action="schedule.create").count() == 1


def test_bad_values_name_their_field(create):
    cells = {
        "name": {"name": ""},
        "cron": {"cron": "every night"},
        "timezone": {"timezone": "Berlin"},
        "overlap": {"overlap": "maybe"},
        "catch_up": {"catch_up": "all"},
        "target": {"target": "person"},
        "/request/kind": {"request": {"kind": "nonsense"}},
        "/request/spec/nonsense": {"request": {"kind": "noop", "spec": {"nonsense": 1}}},
    }
    fields = {}
    for expected, wrong in cells.items():
        with pytest.raises(Invalid) as refusal:
            create(**wrong)
        fields[expected] = refusal.value.field.strip("/") if expected[0] != "/" else refusal.value.field
    assert fields == {name: name for name in cells}
    assert not Schedule.objects.exists()


def test_a_name_is_there_once_and_a_project_has_no_end_of_them(create, monkeypatch):
    create()
    with pytest.raises(Conflict) as refusal:
        create()
    assert refusal.value.code == "name_taken"
    monkeypatch.setattr(schedules, "MAX_SCHEDULES", 1)
    with pytest.raises(Conflict) as refusal:
        create(name="other")
    assert refusal.value.code == "too_many_schedules"
    assert str(refusal.value.message) == "This project has 1 schedules, which is the limit."


def test_who_may_not_submit_creates_none(create, viewer, approver, stranger):
    for person in (viewer, approver, stranger):
        with pytest.raises((Refused, NotFound)):
            create(person)
    assert not Schedule.objects.exists()


def test_who_changes_the_request_submits_from_then_on(schedule, project, actor_for):
    other = member(project, "other-engineer", "engineer")
    actor = actor_for(other)
    kept = services.update_schedule(actor=actor, schedule=schedule, cron="0 3 * * *")
    assert (kept.created_by, kept.next_at.minute) == ("engineer", 0)
    taken = services.update_schedule(actor=actor, schedule=schedule, request={"kind": "noop", "spec": {}})
    assert (taken.created_by, taken.grant["user"]) == ("other-engineer", other.pk)
    assert AuditRecord.objects.filter(action="schedule.update").count() == 2
    services.update_schedule(actor=actor, schedule=schedule, cron="0 3 * * *")
    assert AuditRecord.objects.filter(action="schedule.update").count() == 2


def test_pause_and_resume(schedule, engineer, actor_for, fire):
    actor = actor_for(engineer)
    services.pause_schedule(actor=actor, schedule=schedule, reason="holidays")
    assert (schedule.next_at, fire()) == (None, 0)
    with pytest.raises(IllegalMove):
        services.pause_schedule(actor=actor, schedule=schedule)
    services.resume_schedule(actor=actor, schedule=schedule)
    assert schedule.next_at > timezone.now()


def test_deleted_it_leaves_its_record(schedule, engineer, viewer, actor_for, fire):
    fire()
    with pytest.raises(Refused):
        services.delete_schedule(actor=actor_for(viewer), schedule=schedule)
    services.delete_schedule(actor=actor_for(engineer), schedule=schedule, reason="no longer")
    assert not Schedule.objects.exists()
    assert AuditRecord.objects.filter(action="schedule.delete").count() == 1
