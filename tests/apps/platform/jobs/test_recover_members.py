"""A worker of a job over several nodes that is lost ends the attempt, whichever rank it had."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.db.models.functions import Now

from apps.core.errors import StaleState
from apps.platform.jobs import services
from apps.platform.jobs.kinds import Needs
from apps.platform.jobs.models import Job, JobEvent, JobMember
from apps.platform.jobs.states import JobState, MemberState

pytestmark = [pytest.mark.django_db, pytest.mark.services]


@pytest.fixture
def gang(submit, claim, add_node, worker_actor):
    """A job that runs on the nodes a and b, and its second member."""
    nodes = [add_node(name, extras=["gang"]) for name in ("a", "b")]
    submit(needs=Needs(nodes=2))
    job = claim(on=nodes[0])
    return job, services.claim_member(actor=worker_actor, node=nodes[1], owner="w2")


def test_a_silent_member_ends_the_attempt(gang, dispatcher, worker_actor):
    job, member = gang
    services.recover_expired(actor=dispatcher)
    JobMember.objects.filter(pk=member.pk).update(lease_until=Now() - timedelta(seconds=1))
    assert services.recover_expired(actor=dispatcher) == 1
    job.refresh_from_db()
    assert (job.state, job.error["code"], job.attempts_used) == (JobState.QUEUED, "member_lost", 1)
    assert "The worker on b, rank 1 of the job" in job.error["message"]
    assert [m.state for m in job.members.order_by("rank")] == [MemberState.ENDED, MemberState.FAILED]
    with pytest.raises(StaleState):
        services.report_member(actor=worker_actor, member=member, lines=[["t", "info", "late"]])


def test_a_lost_first_worker_lets_the_others_go(gang, dispatcher, worker_actor):
    job, member = gang
    Job.objects.filter(pk=job.pk).update(lease_until=Now() - timedelta(seconds=1))
    assert services.recover_expired(actor=dispatcher) == 1
    member.refresh_from_db()
    assert member.state == MemberState.ENDED
    assert services.renew_member_leases(actor=worker_actor, owner="w2", members=[member.pk]) == 0


def test_a_member_that_renews_is_left_alone(gang, dispatcher, worker_actor):
    _, member = gang
    JobMember.objects.filter(pk=member.pk).update(lease_until=Now() - timedelta(seconds=1))
    assert services.renew_member_leases(actor=worker_actor, owner="w2", members=[member.pk]) == 1
    assert services.renew_member_leases(actor=worker_actor, owner="other", members=[member.pk]) == 0
    assert services.recover_expired(actor=dispatcher) == 0


def test_a_member_whose_process_has_ended_waits_for_no_lease(gang, dispatcher):
    job, member = gang
    JobMember.objects.filter(pk=member.pk).update(owner="b:realm:1")
    lost = services.recover_abandoned(actor=dispatcher, place=":realm:", is_gone=lambda row: row.owner == "b:realm:1")
    job.refresh_from_db()
    assert (lost, job.error["code"]) == (1, "member_lost")
    assert "has ended" in job.error["message"]


def test_lines_of_all_members_are_numbered_as_one_log(gang, worker_actor):
    job, member = gang
    for text in ("one", "two"):
        services.report_member(actor=worker_actor, member=member, lines=[["t", "info", text], ["t", "info", text]])
    firsts = [event.payload["first"] for event in JobEvent.objects.filter(job=job, kind="log").order_by("seq")]
    job.refresh_from_db()
    assert (firsts, job.log_lines) == ([1, 3], 4)


def test_queues_with_invited_members_are_rung(submit, claim, add_node, dispatcher):
    nodes = [add_node(name, extras=["gang"]) for name in ("a", "b")]
    submit(needs=Needs(nodes=2))
    claim(on=nodes[0])
    assert services.list_queues_to_ring(actor=dispatcher) == ["cpu"]
