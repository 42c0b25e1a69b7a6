import copy

import pytest

from apps.core.errors import Refused, StaleState
from apps.platform.jobs import services
from apps.platform.jobs.models import Job, JobEvent

pytestmark = [pytest.mark.django_db, pytest.mark.services]
EVENTS = [("progress", {"done": 1}), ("metric", {"points": []})]


def test_numbers_them_without_a_gap_and_keeps_the_snapshot(running, worker_actor):
    before = running.event_seq
    services.report_events(actor=worker_actor, job=running, events=EVENTS, progress={"done": 1}, log_lines=4)
    running.refresh_from_db()
    assert (running.event_seq, running.progress, running.log_lines) == (before + 2, {"done": 1}, 4)
    told = JobEvent.objects.filter(job=running).order_by("seq")
    assert [event.seq for event in told] == list(range(1, before + 3))
    assert [event.attempt for event in told][-2:] == [1, 1]


@pytest.mark.parametrize("change", [{"attempt": 9}, {"owner": "w2"}])
def test_a_stale_attempt_writes_nothing(running, worker_actor, change):
    stale = copy.copy(running)
    vars(stale).update(change)
    with pytest.raises(StaleState):
        services.report_events(actor=worker_actor, job=stale, events=EVENTS, progress={"done": 1})
    running.refresh_from_db()
    assert (running.progress, JobEvent.objects.filter(kind="progress").count()) == ({}, 0)


def test_an_ended_job_takes_no_more(running, worker_actor, succeed):
    held = copy.copy(running)
    succeed(running)
    with pytest.raises(StaleState):
        services.report_events(actor=worker_actor, job=held, events=EVENTS)


def test_takes_a_worker(running, actor_for, engineer):
    with pytest.raises(Refused):
        services.report_events(actor=actor_for(engineer), job=running, events=EVENTS)
    assert not JobEvent.objects.filter(kind="progress").exists()
    assert Job.objects.get().event_seq == running.event_seq
