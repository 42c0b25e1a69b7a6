from datetime import timedelta

import pytest
from django.db.models.functions import Now

from apps.core.errors import Refused
from apps.platform.jobs import services
from apps.platform.jobs.models import Job
from apps.platform.jobs.states import JobState
from apps.platform.nodes.samples import get_database_now

pytestmark = [pytest.mark.django_db, pytest.mark.services]

HERE = ":here:"


@pytest.fixture
def recover(dispatcher):
    return lambda *gone: services.recover_abandoned(actor=dispatcher, place=HERE, is_gone=lambda job: job.owner in gone)


@pytest.fixture
def held(submit, claim):
    """held(owner, **asked) -> a job that runs there."""

    def make(owner: str, **asked) -> Job:
        submit(**asked)
        return claim(owner=owner)

    return make


def test_queues_again_at_once_and_long_before_the_lease_is_over(held, recover, claim):
    job = held("n1:here:1")
    assert recover("n1:here:1") == 1
    job.refresh_from_db()
    assert (job.state, job.error["code"], job.attempts_used, job.not_before) == (
        JobState.QUEUED,
        "worker_lost",
        1,
        None,
    )
    assert claim().attempt == 2


def test_a_second_loss_pauses(held, recover, claim):
    job = held("n1:here:1")
    recover("n1:here:1")
    claim(owner="n1:here:2")
    recover("n1:here:2")
    job.refresh_from_db()
    assert job.not_before > job.queued_at


def test_leaves_what_lives_or_is_elsewhere(held, recover):
    jobs = [held("n1:here:1"), held("n1:there:2")]
    assert recover("n1:there:2") == 0
    assert {Job.objects.get(pk=job.pk).state for job in jobs} == {JobState.RUNNING}


def test_leaves_the_next_attempt_of_a_job_that_was_moved_meanwhile(held, dispatcher, claim):
    """The first look finds the dead owner; until the second one somebody has taken the job."""
    job = held("n1:here:1")

    def is_gone(seen: Job) -> bool:
        gone = seen.owner == "n1:here:1"
        Job.objects.filter(pk=job.pk).update(owner="n1:here:2", attempt=2)
        return gone

    assert services.recover_abandoned(actor=dispatcher, place=HERE, is_gone=is_gone) == 0
    job.refresh_from_db()
    assert (job.state, job.owner) == (JobState.RUNNING, "n1:here:2")


def test_fails_at_the_last_attempt(held, recover):
    job = held("n1:here:1", max_attempts=1)
    recover("n1:here:1")
    job.refresh_from_db()
    assert (job.state, job.error["code"]) == (JobState.FAILED, "worker_lost")


def test_takes_a_worker_or_the_dispatcher(running, worker_actor, actor_for, engineer):
    services.recover_abandoned(actor=worker_actor, place=HERE, is_gone=lambda job: True)
    with pytest.raises(Refused):
        services.recover_abandoned(actor=actor_for(engineer), place=HERE, is_gone=lambda job: True)


def test_times_of_a_clock_that_was_set_back_are_corrected(submit, claim, fail, dispatcher, settings):
    """A job whose worker died just before, and one that paused, would else wait for as long as it was set back."""
    submit()
    lost, paused = claim(), submit()
    Job.objects.filter(pk=lost.pk).update(lease_until=Now() + timedelta(days=3))
    Job.objects.filter(pk=paused.pk).update(not_before=Now() + timedelta(days=3))
    now = get_database_now()
    assert services.correct_future_times(actor=dispatcher, now=now, longest_lease=60) == 2
    lost.refresh_from_db()
    paused.refresh_from_db()
    assert lost.lease_until == now + timedelta(seconds=settings.ENV.lease_seconds)
    assert paused.not_before == now
    assert services.correct_future_times(actor=dispatcher, now=now, longest_lease=60) == 0
