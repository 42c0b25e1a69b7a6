import copy
from datetime import timedelta

import pytest
from django.db.models.functions import Now

from apps.core.errors import Refused, StaleState
from apps.platform.jobs import services
from apps.platform.jobs.models import Job
from apps.platform.jobs.states import JobState

pytestmark = [pytest.mark.django_db, pytest.mark.services]


@pytest.fixture
def recover(dispatcher):
    return lambda: services.recover_expired(actor=dispatcher)


@pytest.fixture
def lost(submit, claim):
    """lost(**asked) -> a running job whose lease is over."""

    def make(**asked):
        submit(**asked)
        job = claim()
        Job.objects.filter(pk=job.pk).update(lease_until=Now() - timedelta(seconds=1))
        return job

    return make


def test_queues_again_at_once(lost, recover, claim):
    job = lost()
    assert (recover(), recover()) == (1, 0)
    job.refresh_from_db()
    assert (job.state, job.error["code"], job.attempts_used) == (JobState.QUEUED, "worker_lost", 1)
    assert claim().attempt == 2


def test_the_twin_that_comes_back_writes_nothing(lost, recover, claim, worker_actor, succeed):
    twin = copy.copy(lost())
    recover()
    claim(owner="w2")
    with pytest.raises(StaleState):
        services.report_events(actor=worker_actor, job=twin, events=[("progress", {})])
    with pytest.raises(StaleState):
        succeed(twin)


def test_fails_at_the_last_attempt(lost, recover):
    job = lost(max_attempts=1)
    recover()
    job.refresh_from_db()
    assert (job.state, job.error["code"]) == (JobState.FAILED, "worker_lost")


def test_cancels_what_was_to_be_cancelled(lost, recover, actor_for, engineer):
    job = lost()
    services.cancel_job(actor=actor_for(engineer), job=job)
    recover()
    job.refresh_from_db()
    assert job.state == JobState.CANCELLED


def test_leaves_a_renewed_lease_alone(running, recover):
    assert recover() == 0
    running.refresh_from_db()
    assert running.state == JobState.RUNNING


def test_takes_the_dispatcher(worker_actor, actor_for, engineer):
    for actor in (worker_actor, actor_for(engineer)):
        with pytest.raises(Refused):
            services.recover_expired(actor=actor)
