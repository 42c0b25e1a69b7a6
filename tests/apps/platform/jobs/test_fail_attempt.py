import copy
from datetime import timedelta
from itertools import pairwise

import pytest

from apps.core.errors import Conflict, Refused, StaleState
from apps.platform.jobs import services
from apps.platform.jobs.models import Job, JobParent
from apps.platform.jobs.states import JobState
from apps.platform.jobs.status.attempt_history import build_attempts, list_attempt_events

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


def stall(job: Job, claim, fail) -> Job:
    Job.objects.filter(pk=job.pk).update(not_before=None)
    return fail(claim(), retry=True, counts=False)


def test_pauses_grow_to_their_limit(submit, claim, fail):
    job, pauses = submit(max_attempts=20), []
    for counts in [True] * 5 + [False] * 4:
        Job.objects.filter(pk=job.pk).update(not_before=None)
        job = fail(claim(), retry=True, counts=counts)
        pauses.append((job.not_before - job.queued_at).total_seconds())
    expected = [5, 25, 125, 600, 600, 5, 25, 60, 60]  # of failures, then of stalls
    assert [round(pause / full, 1) for pause, full in zip(pauses, expected, strict=True)] == [
        pytest.approx(1, abs=0.25)
    ] * 9


def test_a_retry_by_hand_waits_for_nothing(submit, claim, fail, actor_for, engineer):
    job = stall(submit(max_attempts=1), claim, fail)
    Job.objects.filter(pk=job.pk).update(not_before=None)
    job = services.retry_job(actor=actor_for(engineer), job=fail(claim()))
    assert (job.not_before, job.stalled_since, job.stalls) == (None, None, 0)


def test_a_pause_is_ended_by_hand(submit, claim, fail, actor_for, engineer, rung, django_capture_on_commit_callbacks):
    submit()
    job = fail(claim(), retry=True)
    assert claim() is None
    rung.clear()
    with django_capture_on_commit_callbacks(execute=True):
        services.retry_job(actor=actor_for(engineer), job=job)
    assert (job.attempts_used, claim().attempt, rung) == (1, 2, ["cpu"])
    with pytest.raises(Conflict):
        services.retry_job(actor=actor_for(engineer), job=Job.objects.get(pk=job.pk))


def test_a_stall_of_too_long_fails_the_job_and_says_so(submit, claim, fail):
    job = stall(submit(max_attempts=1), claim, fail)
    since = job.stalled_since
    assert stall(job, claim, fail).stalled_since == since
    Job.objects.filter(pk=job.pk).update(stalled_since=since - timedelta(hours=24))
    job = stall(job, claim, fail)
    assert (job.state, job.error["code"], job.error["limit"]) == (JobState.FAILED, "broke", "24 h")
    assert job.error["message"] == "It broke. It was so for 24 h."


def test_a_checkpoint_meanwhile_begins_the_time_anew(submit, claim, fail, keep_checkpoint):
    job = stall(submit(max_attempts=1), claim, fail)
    Job.objects.update(not_before=None, stalled_since=job.stalled_since - timedelta(hours=24))
    running = claim()
    keep_checkpoint(running)
    job = fail(running, retry=True, counts=False)
    assert (job.state, job.stalls) == (JobState.QUEUED, 1)


def test_a_failure_that_counts_ends_a_stall(submit, claim, fail):
    job = stall(submit(), claim, fail)
    Job.objects.update(not_before=None)
    job = fail(claim(), retry=True)
    assert (job.stalled_since, job.stalls, job.attempts_used) == (None, 0, 1)


def test_a_stalled_attempt_is_told_as_given_back(submit, claim, fail):
    job = stall(submit(), claim, fail)
    (attempt,) = build_attempts(list_attempt_events(job))
    assert (attempt.state, attempt.why) == (JobState.QUEUED, "It broke.")


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
