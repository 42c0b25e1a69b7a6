from datetime import timedelta

import pytest
from django.utils import timezone

from apps.core.actors import PlaneRole, build_plane_actor
from apps.core.errors import Refused
from apps.fleet.devices.absences import read_absences
from apps.fleet.devices.models import Assignment, Presence
from apps.fleet.devices.services import expire_assignments, note_presence

pytestmark = [pytest.mark.django_db, pytest.mark.services]

DISPATCHER = build_plane_actor(PlaneRole.DISPATCHER, host="test")
HOUR = timedelta(hours=1)


@pytest.fixture
def note():
    """note(after): the dispatcher's round at `after` from the first one."""
    start = timezone.now()

    def run(after):
        note_presence(actor=DISPATCHER, now=start + after)
        return start + after

    return run


def test_an_hour_away_moves_deadlines_once(note, device, release, assign, find_records):
    note(timedelta())
    assignment = assign(device, release, deadline_seconds=600)
    generation = type(device).objects.get(pk=device.pk).generation
    for after in (HOUR, HOUR, HOUR + timedelta(seconds=20)):
        note(after)
    moved = Assignment.objects.get(pk=assignment.pk)
    assert moved.deadline - assignment.deadline == HOUR
    assert type(device).objects.get(pk=device.pk).generation == generation + 1, "its next poll is answered anew"
    assert len(find_records("device.extend_deadlines")) == 1


def test_what_was_due_while_the_plane_was_away_does_not_expire(device, release, assign):
    now = timezone.now()
    Presence.objects.create(began_at=now - 2 * HOUR, until=now - HOUR)
    assignment = assign(device, release)
    Assignment.objects.filter(pk=assignment.pk).update(created_at=now - 2 * HOUR, deadline=now - timedelta(minutes=30))
    assert expire_assignments(actor=DISPATCHER) == 0
    assert Assignment.objects.get(pk=assignment.pk).deadline > now


def test_a_restart_is_no_absence(note, device, release, assign, find_records):
    start = note(timedelta())
    for seconds in (20, 200, 499):
        note(timedelta(seconds=seconds))
    assert (Presence.objects.get().began_at, read_absences().stretches) == (start, ())
    assert not find_records("device.extend_deadlines")


def test_a_clock_that_is_set_back_is_no_absence(note):
    note(HOUR)
    note(timedelta())
    note(timedelta(seconds=30))
    assert Presence.objects.count() == 1


def test_presence_is_measured_without_the_absences(note):
    start = note(timedelta())
    note(timedelta(minutes=2))
    end = note(HOUR)
    absences = read_absences()
    assert absences.measure_presence(start, end) == 120
    assert absences.measure_absence(start + timedelta(minutes=30), end + HOUR) == 1800
    assert absences.measure_presence(end, start) == 0


def test_who_may_not(actor_for, engineer):
    with pytest.raises(Refused):
        note_presence(actor=actor_for(engineer), now=timezone.now())
