import copy

import pytest

from apps.core.errors import IllegalMove, Refused, StaleState
from apps.platform.audit.models import AuditRecord
from apps.platform.jobs import services
from apps.platform.jobs.models import JobOutput
from apps.platform.jobs.states import JobState

pytestmark = [pytest.mark.django_db, pytest.mark.services]


def test_promotes_outputs_and_records_their_digests(running, succeed):
    job = succeed(running)
    assert (job.state, job.result, job.lease_until) == (JobState.SUCCEEDED, {"rows": 1}, None)
    assert job.outputs.get().artifact_id == "b" * 64
    assert '"note":"' + "b" * 64 in AuditRecord.objects.get(action="job.succeeded").body


def test_frees_the_child_when_the_last_parent_is_done(submit, child_of, claim, succeed, rung):
    child = child_of(submit(), submit())
    succeed(claim())
    child.refresh_from_db()
    assert child.state == JobState.WAITING
    succeed(claim(), digest="c" * 64)
    child.refresh_from_db()
    assert (child.state, child.inputs.get().artifact_id) == (JobState.QUEUED, "b" * 64)


def test_a_child_whose_slot_stays_empty_fails(submit, child_of, claim, succeed):
    child = child_of(submit())
    succeed(claim(), slot="echo")
    child.refresh_from_db()
    assert (child.state, child.error["code"]) == (JobState.FAILED, "output_missing")


@pytest.mark.parametrize("change", [{"attempt": 9}, {"owner": "w2"}])
def test_a_stale_attempt_promotes_nothing(running, succeed, change):
    stale = copy.copy(running)
    vars(stale).update(change)
    with pytest.raises(StaleState):
        succeed(stale)
    running.refresh_from_db()
    assert (running.state, JobOutput.objects.count()) == (JobState.RUNNING, 0)


def test_twice_is_no_move(running, succeed):
    with pytest.raises(IllegalMove):
        succeed(succeed(running))
    assert JobOutput.objects.count() == 1


def test_takes_a_worker(running, actor_for, engineer):
    with pytest.raises(Refused):
        services.succeed_job(actor=actor_for(engineer), job=running, outputs=[], result={})
