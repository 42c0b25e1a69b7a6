import pytest

from apps.core.errors import Conflict, NotFound, Refused
from apps.platform.jobs import services
from apps.platform.jobs.models import Job
from apps.platform.jobs.states import JobState

pytestmark = [pytest.mark.django_db, pytest.mark.services]


@pytest.fixture
def retry(actor_for, engineer):
    return lambda job, who=None: services.retry_job(actor=actor_for(who or engineer), job=job)


def test_queues_again_with_a_fresh_allowance(submit, claim, fail, retry):
    submit(max_attempts=1)
    job = retry(fail(claim()))
    assert (job.state, job.error, job.attempts_used, job.max_attempts) == (JobState.QUEUED, None, 0, 1)
    assert claim().attempt == 2


def test_the_allowance_does_not_grow_from_retry_to_retry(submit, claim, fail, retry):
    submit(max_attempts=2)
    for _ in range(3):
        assert fail(claim(), retry=True).state == JobState.QUEUED
        Job.objects.update(not_before=None)
        job = fail(claim(), retry=True)
        assert job.state == JobState.FAILED
        retry(job)


def test_keeps_the_fence_after_a_release(submit, claim, fail, retry, worker_actor):
    submit(max_attempts=1)
    services.release_job(actor=worker_actor, job=claim(), reason="stop")
    job = retry(fail(claim()))
    assert (job.attempt, job.released, job.max_attempts - job.attempts_used) == (2, 2, 1)


def test_a_cancelled_one_forgets_that_it_was_cancelled(submit, actor_for, engineer, retry):
    job = retry(services.cancel_job(actor=actor_for(engineer), job=submit(), reason="no"))
    assert (job.state, job.cancel_requested_at, job.cancel_reason) == (JobState.QUEUED, None, "")


def test_revives_children_and_theirs(submit, child_of, claim, fail, succeed, retry):
    parent = submit()
    child = child_of(parent)
    grandchild = child_of(child)
    retry(fail(claim()))
    for job in (child, grandchild):
        job.refresh_from_db()
        assert (job.state, job.error) == (JobState.WAITING, None)
    succeed(claim())
    child.refresh_from_db()
    assert child.state == JobState.QUEUED


def test_leaves_a_child_that_failed_by_itself(submit, child_of, claim, fail, succeed, retry, actor_for, engineer):
    parent = submit()
    other = submit()
    child = child_of(parent, other)
    services.cancel_job(actor=actor_for(engineer), job=child)
    retry(fail(claim()))
    child.refresh_from_db()
    assert child.state == JobState.CANCELLED


def test_a_child_whose_other_parent_is_failed_waits_for_both(submit, child_of, claim, fail, succeed, retry):
    first, second = submit(), submit()
    child = child_of(first, second)
    first, second = fail(claim()), fail(claim())
    retry(first)
    succeed(claim())
    child.refresh_from_db()
    assert child.state != JobState.QUEUED
    retry(second)
    succeed(claim(), digest="c" * 64)
    child.refresh_from_db()
    assert child.state == JobState.QUEUED


@pytest.mark.parametrize("state", ["queued", "running", "succeeded"])
def test_only_what_has_failed_is_retried(submit, claim, succeed, retry, state):
    job = submit()
    if state != "queued":
        job = claim()
    if state == "succeeded":
        job = succeed(job)
    with pytest.raises(Conflict) as caught:
        retry(job)
    assert caught.value.code == "not_retryable"


def test_retry_requires_an_engineer_of_the_project(submit, claim, fail, retry, viewer, stranger):
    submit()
    job = fail(claim())
    for user, error in ((viewer, Refused), (stranger, NotFound)):
        with pytest.raises(error):
            retry(job, who=user)
    job.refresh_from_db()
    assert job.state == JobState.FAILED
