"""Each time is submitted once, with its creator's rights, or the reason stands beside it."""

from datetime import timedelta

import pytest

from apps.core.errors import Refused
from apps.platform.accounts.models import Membership
from apps.platform.audit.models import AuditRecord
from apps.platform.calendars.models import Schedule
from apps.platform.calendars.services import fire_due_schedules, firing
from apps.platform.jobs.models import Job
from apps.platform.jobs.states import JobState
from apps.platform.notices.models import Notice
from tests.apps.platform.calendars.conftest import NIGHT

pytestmark = [pytest.mark.django_db, pytest.mark.services]
DAY = timedelta(days=1)


def test_its_time_submits_the_job_once(schedule, fire, occurrences):
    assert fire(NIGHT - timedelta(seconds=1)) == 0
    assert fire() == 1
    assert fire() == 0
    job = Job.objects.get()
    assert (job.kind, job.requester, job.grant["user"]) == ("noop", "engineer", schedule.grant["user"])
    schedule.refresh_from_db()
    assert schedule.next_at == NIGHT + DAY
    assert occurrences(schedule) == [("submitted", 1)]
    assert schedule.occurrences.get().subject_id == str(job.pk)
    assert f'"request":"schedule-{schedule.pk}"' in AuditRecord.objects.get(action="job.submit").body
    assert AuditRecord.objects.filter(action="schedule.submitted").count() == 1


def test_killed_in_the_middle_it_is_as_if_it_had_not_begun(schedule, fire, occurrences, monkeypatch):
    """At whichever step: nothing of it is there, and the next round does it once."""
    for step in ("note_missed", "submit_occurrence", "prune_occurrences"):
        with monkeypatch.context() as patch:
            patch.setattr(firing, step, lambda *_: 1 / 0)
            fire()
        assert (step, Job.objects.count(), occurrences(schedule)) == (step, 0, [])
    assert fire() == 1
    assert Job.objects.count() == 1


@pytest.mark.parametrize(
    ("catch_up", "expected", "jobs"),
    [("last", [("missed", 3), ("submitted", 1)], 1), ("none", [("missed", 4)], 0)],
)
def test_times_that_passed_while_the_plane_was_down(schedule, fire, occurrences, catch_up, expected, jobs):
    Schedule.objects.update(catch_up=catch_up)
    assert fire(NIGHT + 3 * DAY + timedelta(hours=2)) == 1
    assert (occurrences(schedule), Job.objects.count()) == (expected, jobs)
    schedule.refresh_from_db()
    assert schedule.next_at == NIGHT + 4 * DAY


@pytest.mark.parametrize(
    ("overlap", "outcomes", "states"),
    [
        ("skip", ["submitted", "skipped"], ["queued"]),
        ("allow", ["submitted", "submitted"], ["queued", "queued"]),
        ("cancel", ["submitted", "submitted"], ["cancelled", "queued"]),
    ],
)
def test_what_has_not_ended_yet(schedule, fire, occurrences, overlap, outcomes, states):
    Schedule.objects.update(overlap=overlap)
    fire()
    fire(NIGHT + DAY)
    assert [outcome for outcome, _count in occurrences(schedule)] == outcomes
    assert list(Job.objects.order_by("pk").values_list("state", flat=True)) == states


def test_what_has_ended_is_followed(schedule, fire, occurrences):
    fire()
    Job.objects.update(state=JobState.SUCCEEDED)
    fire(NIGHT + DAY)
    assert occurrences(schedule) == [("submitted", 1)] * 2


def test_who_may_no_longer_submits_nothing_and_is_told_once(schedule, fire, occurrences, engineer):
    Membership.objects.filter(user=engineer).update(role="viewer")
    fire()
    Membership.objects.filter(user=engineer).delete()
    fire(NIGHT + DAY)
    assert occurrences(schedule) == [("failed", 1)] * 2
    first, second = (row.reason["message"] for row in schedule.occurrences.order_by("id"))
    assert "job.submit" in first
    assert "may not submit anything any more" in second
    assert Notice.objects.filter(kind="schedule.failed", recipient=engineer).count() == 1
    assert not Job.objects.exists()


def test_a_request_that_fits_no_longer_says_what_is_wrong(schedule, fire, occurrences):
    Schedule.objects.update(request={"kind": "noop", "spec": {"nonsense": 1}})
    fire()
    assert occurrences(schedule) == [("failed", 1)]
    assert "nonsense" in schedule.occurrences.get().reason["message"]
    schedule.refresh_from_db()
    assert (schedule.failures, schedule.next_at) == (1, NIGHT + DAY)


def test_one_that_breaks_leaves_the_others_their_time(schedule, create, fire, monkeypatch):
    create(name="other")
    Schedule.objects.update(next_at=NIGHT)
    real = firing.submit_occurrence

    def submit(actor, row, due_at):
        return 1 / 0 if row.pk == schedule.pk else real(actor, row, due_at)

    monkeypatch.setattr(firing, "submit_occurrence", submit)
    assert fire() == 1
    assert Job.objects.count() == 1


def test_old_times_are_forgotten(schedule, fire, monkeypatch):
    monkeypatch.setattr(firing, "KEPT_OCCURRENCES", 2)
    Schedule.objects.update(overlap="allow")
    for day in range(4):
        fire(NIGHT + day * DAY)
    assert schedule.occurrences.count() == 2


def test_only_the_dispatcher_does_it(schedule, worker_actor, actor_for, engineer):
    for actor in (worker_actor, actor_for(engineer)):
        with pytest.raises(Refused):
            fire_due_schedules(actor=actor)
