import copy

import pytest

from apps.core.errors import Refused, StaleState
from apps.platform.jobs import services
from apps.platform.jobs.states import JobState

pytestmark = [pytest.mark.django_db, pytest.mark.services]


def test_gives_the_attempt_back(running, worker_actor, claim):
    job = services.release_job(actor=worker_actor, job=running, reason="The worker was stopped")
    assert (job.state, job.attempt, job.attempts_used, job.not_before) == (JobState.QUEUED, 1, 0, None)
    again = claim()
    assert (again.attempt, again.attempts_used) == (2, 1)


def test_any_number_of_times(submit, claim, worker_actor):
    submit(max_attempts=1)
    for _ in range(3):
        services.release_job(actor=worker_actor, job=claim(), reason="stop")
    assert claim().attempts_used == 1


def test_a_stale_attempt_gives_nothing_back(running, worker_actor):
    stale = copy.copy(running)
    stale.owner = "w2"
    with pytest.raises(StaleState):
        services.release_job(actor=worker_actor, job=stale, reason="stop")
    running.refresh_from_db()
    assert (running.state, running.released) == (JobState.RUNNING, 0)


def test_takes_a_worker(running, actor_for, engineer):
    with pytest.raises(Refused):
        services.release_job(actor=actor_for(engineer), job=running, reason="x")
