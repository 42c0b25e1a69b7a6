"""Endings are counted once each, however often and by however many dispatchers."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.db.models import F
from django.db.models.functions import Now

from apps.core.errors import Refused
from apps.platform.jobs.models import Job, JobTally
from apps.platform.jobs.scheduling import ended_job_counters
from apps.platform.jobs.services import cancel_job

pytestmark = [pytest.mark.django_db, pytest.mark.services]


@pytest.fixture
def tallied(dispatcher):
    return lambda: ended_job_counters.count_ended_jobs(actor=dispatcher)


def settle(seconds: float = 60) -> None:
    """Let everything have happened so long ago."""
    Job.objects.update(ended_at=F("ended_at") - timedelta(seconds=seconds))


def test_counts_each_ending_once(submit, claim, succeed, fail, tallied):
    submit(), succeed(claim())
    submit(), fail(claim())
    settle()
    assert [tallied(), tallied()] == [2, 0]
    found = {row.state: (row.kind, row.queue, row.ended, row.ran) for row in JobTally.objects.all()}
    assert found == {"succeeded": ("noop", "cpu", 1, 1), "failed": ("noop", "cpu", 1, 1)}


def test_what_ends_later_is_added(submit, claim, succeed, tallied):
    for _ in range(2):
        submit(), succeed(claim())
        settle()
        tallied()
    assert JobTally.objects.get().ended == 2


def test_an_ending_is_left_until_its_transaction_is_surely_done(submit, claim, succeed, tallied):
    submit(), succeed(claim())
    assert tallied() == 0


def test_many_of_one_instant_are_cut_in_batches(submit, claim, succeed, tallied, monkeypatch):
    monkeypatch.setattr(ended_job_counters, "MAX_JOBS_PER_COUNT", 2)
    for _ in range(5):
        submit(), succeed(claim())
    Job.objects.update(ended_at=Now() - timedelta(minutes=5))
    assert [tallied() for _ in range(4)] == [2, 2, 1, 0]


def test_one_that_never_began_has_no_duration(submit, actor_for, engineer, tallied):
    cancel_job(actor=actor_for(engineer), job=submit())
    settle()
    tallied()
    row = JobTally.objects.get()
    assert (row.state, row.ended, row.ran, sum(row.buckets)) == ("cancelled", 1, 0, 0)


def test_durations_fall_into_cumulative_buckets():
    assert ended_job_counters.add_to_buckets([], [0.5, 1, 5.1, 1e6])[:4] == [2, 2, 3, 3]
    assert ended_job_counters.add_to_buckets([1] * len(ended_job_counters.BUCKET_BOUNDS), [86_400])[-2:] == [1, 2]


def test_takes_the_dispatcher(actor_for, sysadmin):
    with pytest.raises(Refused):
        ended_job_counters.count_ended_jobs(actor=actor_for(sysadmin))
