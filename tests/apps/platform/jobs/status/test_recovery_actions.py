"""What is offered first to whom a job has failed."""

import pytest

from apps.platform.jobs.errors import build_job_error, parent_failed
from apps.platform.jobs.models import Job, JobCheckpoint
from apps.platform.jobs.status.recovery_actions import EDIT, PARENT, RETRY, choose_recovery_actions

pytestmark = pytest.mark.django_db


def failed(**error) -> Job:
    return Job(state="failed", error=build_job_error("x", "It broke.") | error)


@pytest.mark.parametrize(
    ("error", "first", "second"),
    [
        ({}, RETRY, EDIT),
        ({"code": "worker_lost"}, RETRY, EDIT),
        ({"field": "/steps"}, EDIT, RETRY),
        ({"field": "time_limit_seconds"}, EDIT, RETRY),
        ({"code": "artifact_damaged", "field": "digest"}, RETRY, EDIT),
        ({"code": "out_of_memory"}, EDIT, RETRY),
        ({"code": "memory_limit", "field": "needs.memory_bytes"}, EDIT, RETRY),
        ({"code": "engine_killed"}, EDIT, RETRY),
    ],
)
def test_what_helps_first(error, first, second):
    remedy = choose_recovery_actions(failed(**error), None, may_retry=True, may_edit=True)
    assert (remedy.first, remedy.second) == (first, second)


def test_who_may_do_nothing_is_offered_nothing():
    remedy = choose_recovery_actions(failed(), None, may_retry=False, may_edit=False)
    assert (remedy.first, remedy.second) == ("", "")


@pytest.mark.parametrize("state", ["running", "succeeded", "cancelled"])
def test_what_has_not_failed_needs_no_remedy(state):
    assert choose_recovery_actions(Job(state=state), None, may_retry=True, may_edit=True).first == ""


def test_a_retry_says_where_it_goes_on():
    assert choose_recovery_actions(failed(), JobCheckpoint(step=2000), may_retry=True, may_edit=True).step == 2000


def test_one_that_failed_with_its_parent_leads_there(running, fail, child_of):
    child = child_of(running)
    fail(running)
    child.refresh_from_db()
    assert child.error["code"] == parent_failed()["code"]
    remedy = choose_recovery_actions(child, None, may_retry=True, may_edit=True)
    assert (remedy.first, remedy.parent) == (PARENT, running)
