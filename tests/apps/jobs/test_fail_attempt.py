import copy
from itertools import pairwise

import pytest

from apps.errors import Refused, StaleState
from apps.jobs import services
from apps.jobs.models import Job, JobParent
from apps.jobs.states import JobState

pytestmark = [pytest.mark.django_db, pytest.mark.services]


def test_a_final_fault_ends_the_job(running, fail):
    job = fail(running)
    assert (job.state, job.error["code"], job.lease_until, job.devices) == (JobState.FAILED, "broke", None, [])
    assert job.ended_at is not None


def test_a_passing_one_is_tried_again_after_a_pause(running, fail):
    job = fail(running, retry=True)
    assert (job.state, job.owner, job.node, job.error["code"]) == (JobState.QUEUED, "", None, "broke")
    assert job.not_before > job.queued_at


def test_the_last_attempt_ends_the_job(submit, claim, fail):
    submit(max_attempts=1)
    assert fail(claim(), retry=True).state == JobState.FAILED


def test_a_store_that_was_away_costs_no_attempt(submit, claim, fail):
    submit(max_attempts=1)
    job = fail(claim(), retry=True, counts=False)
    assert (job.state, job.attempts_used) == (JobState.QUEUED, 0)
    assert job.not_before > job.queued_at


def test_one_that_is_always_away_ends_the_job(submit, claim, fail):
    job = submit(max_attempts=1)
    Job.objects.filter(pk=job.pk).update(released=services.AWAY, attempt=services.AWAY)
    assert fail(claim(), retry=True, counts=False).state == JobState.FAILED


def test_children_fail_to_the_last_generation(submit, child_of, claim, fail):
    child = child_of(submit())
    grandchild = child_of(child)
    fail(claim())
    for job in (child, grandchild):
        job.refresh_from_db()
        assert (job.state, job.error["code"]) == (JobState.FAILED, "parent_failed")


def test_a_failure_reaches_the_end_of_a_long_chain(submit, claim, fail):
    """More generations than a recursion would have frames for: each takes several."""
    first = submit()
    facts = {"project": first.project, "kind": "noop", "spec": first.spec, "queue": "cpu", "state": JobState.WAITING}
    facts |= {"time_limit_seconds": 60, "grant": first.grant, "requester": first.requester}
    chain = [first, *Job.objects.bulk_create(Job(**facts) for _ in range(220))]
    JobParent.objects.bulk_create(JobParent(parent=one, child=other) for one, other in pairwise(chain))
    fail(claim())
    chain[-1].refresh_from_db()
    assert chain[-1].error["code"] == "parent_failed"
    assert not Job.objects.exclude(state=JobState.FAILED).exists()


def test_children_of_a_job_that_is_tried_again_wait(submit, child_of, claim, fail):
    child = child_of(submit())
    fail(claim(), retry=True)
    child.refresh_from_db()
    assert child.state == JobState.WAITING


@pytest.mark.parametrize("retry", [True, False])
def test_a_stale_attempt_changes_nothing(running, fail, retry):
    stale = copy.copy(running)
    stale.attempt = 0
    with pytest.raises(StaleState):
        fail(stale, retry=retry)
    running.refresh_from_db()
    assert (running.state, running.error) == (JobState.RUNNING, None)


def test_takes_a_worker(running, actor_for, engineer):
    with pytest.raises(Refused):
        services.fail_attempt(actor=actor_for(engineer), job=running, error={}, retry=False)
