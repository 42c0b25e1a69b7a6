"""The attempts of a job, told by its events."""

import pytest

from apps.platform.jobs import services
from apps.platform.jobs.states import JobState
from apps.platform.jobs.status.attempt_history import build_attempts, find_last_usage, list_attempt_events

pytestmark = pytest.mark.django_db
USED = {"peak_memory_bytes": 2**20, "cpu_seconds": 1.0, "seconds": 4.0}


def attempts_of(job):
    return build_attempts(list_attempt_events(job))


def test_none_before_the_first_claim(submit):
    assert attempts_of(submit()) == []


def test_one_that_runs_has_no_end(running, node):
    (attempt,) = attempts_of(running)
    assert (attempt.number, attempt.node, attempt.state, attempt.ended) == (1, node.name, JobState.RUNNING, None)
    assert attempt.seconds >= 0


def test_one_that_broke_is_told_apart_from_one_that_was_given_back(running, worker_actor, claim, fail):
    services.release_job(actor=worker_actor, job=running, reason="The worker was stopped")
    second = claim()
    fail(second, retry=True)
    newest, oldest = attempts_of(second)
    assert (newest.number, newest.state, newest.why) == (2, JobState.FAILED, "It broke.")
    assert (oldest.number, oldest.state, oldest.why) == (1, JobState.QUEUED, "The worker was stopped")


def test_a_retry_by_a_person_does_not_change_how_the_attempt_ended(running, fail, actor_for, engineer):
    fail(running)
    services.retry_job(actor=actor_for(engineer), job=running)
    (attempt,) = attempts_of(running)
    assert attempt.state == JobState.FAILED


def test_what_the_newest_attempt_used(running, worker_actor):
    services.report_events(actor=worker_actor, job=running, events=[("usage", USED)])
    usage = find_last_usage(attempts_of(running))
    assert (usage["attempt"], usage["peak_memory_bytes"], usage["cpus"]) == (1, 2**20, 0.25)


@pytest.mark.parametrize("broken", [{"cpu_seconds": None}, {"seconds": 0}, {"seconds": "x"}])
def test_usage_that_is_no_number_tells_no_average(broken, running, worker_actor):
    services.report_events(actor=worker_actor, job=running, events=[("usage", USED | broken)])
    assert find_last_usage(attempts_of(running))["cpus"] is None


def test_it_costs_one_query(running, fail, django_assert_num_queries):
    fail(running)
    with django_assert_num_queries(1):
        attempts_of(running)
