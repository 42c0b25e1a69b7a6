import pytest

from apps.core.errors import Conflict, NotFound, Refused
from apps.platform.audit.models import AuditRecord
from apps.platform.jobs import services
from apps.platform.jobs.models import Job
from apps.platform.jobs.states import JobState

pytestmark = [pytest.mark.django_db, pytest.mark.services]


@pytest.fixture
def cancel(actor_for, engineer):
    return lambda job, who=None, **kwargs: services.cancel_job(actor=actor_for(who or engineer), job=job, **kwargs)


def test_one_that_has_not_started_ends_at_once(submit, cancel):
    job = cancel(submit(), reason="a mistake")
    assert (job.state, job.cancel_reason) == (JobState.CANCELLED, "a mistake")
    assert job.ended_at is not None
    assert AuditRecord.objects.filter(action="job.cancelled").count() == 1


def test_a_running_one_is_asked_once(running, cancel):
    cancel(running, reason="first")
    job = cancel(running, reason="second")
    assert (job.state, job.cancel_reason) == (JobState.RUNNING, "first")
    assert AuditRecord.objects.filter(action="job.cancel").count() == 1


def test_one_that_was_claimed_meanwhile_is_asked(submit, claim, cancel):
    seen = submit()
    claim()
    assert cancel(seen).cancel_requested_at


def test_one_that_was_given_back_meanwhile_ends_at_once(running, cancel, worker_actor):
    seen = Job.objects.get(pk=running.pk)
    services.release_job(actor=worker_actor, job=running, reason="stop")
    assert cancel(seen).state == JobState.CANCELLED


@pytest.mark.parametrize("how", ["released", "failed"])
def test_a_requested_cancel_ends_the_job_after_its_attempt(running, cancel, worker_actor, fail, how):
    cancel(Job.objects.get(pk=running.pk), reason="no")
    if how == "released":
        services.release_job(actor=worker_actor, job=running, reason="stop")
    else:
        fail(running, retry=True)
    assert (running.state, running.cancel_reason) == (JobState.CANCELLED, "no")


def test_its_worker_ends_it(running, cancel, worker_actor):
    ended = services.end_cancelled(actor=worker_actor, job=cancel(running, reason="enough"))
    assert (ended.state, ended.lease_until, ended.devices) == (JobState.CANCELLED, None, [])


def test_children_fail_with_it(submit, child_of, cancel):
    parent = submit()
    child = child_of(parent)
    grandchild = child_of(child)
    cancel(parent)
    for job in (child, grandchild):
        job.refresh_from_db()
        assert (job.state, job.error["code"]) == (JobState.FAILED, "parent_failed")


def test_one_that_has_ended_is_a_conflict(submit, cancel):
    job = cancel(submit())
    with pytest.raises(Conflict) as caught:
        cancel(job)
    assert caught.value.code == "already_ended"


def test_cancel_requires_an_engineer_of_the_project(submit, cancel, viewer, approver, stranger):
    job = submit()
    for user, error in ((viewer, Refused), (approver, Refused), (stranger, NotFound)):
        with pytest.raises(error):
            cancel(job, who=user)
    job.refresh_from_db()
    assert job.state == JobState.QUEUED
