"""The first member of a job over several nodes, when the others, or its own node, do not come up to it."""

from __future__ import annotations

import time

import pytest
from django.utils import timezone

from apps.platform.jobs import services
from apps.platform.jobs.kinds import Needs
from apps.platform.jobs.models import Job, JobMember
from apps.platform.jobs.states import JobState, MemberState
from apps.platform.nodes.models import Node
from apps.platform.nodes.services import record_heartbeat
from deepseek.messages import Message
from workers import tasks
from workers.gangs import members
from workers.runner import AttemptStopped

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.services]


@pytest.fixture
def gang(worker, worker_actor, submit, monkeypatch):
    """A queued job over the worker's node and another one, whose worker never answers."""
    monkeypatch.setattr(members.node_check, "find_fault", lambda *words: None)
    Node.objects.create(name="other", host="other", queues=["cpu"], cpus=4, memory_bytes=8 * 2**30)
    Node.objects.update(extras=["gang"])
    for node in Node.objects.all():
        record_heartbeat(actor=worker_actor, node=node, load={})
    return submit(needs=Needs(cpus=1, nodes=2))


def list_states(job) -> list[tuple[str, str]]:
    return [(member.node_name, member.state) for member in job.members.order_by("rank")]


def test_a_node_that_fails_its_check_is_named_and_costs_no_attempt(gang, monkeypatch):
    fault = Message("the disk of {name} is short", name="scratch")
    monkeypatch.setattr(members.node_check, "find_fault", lambda *words: fault)
    assert tasks.run_next("cpu") == 1
    gang.refresh_from_db()
    assert (gang.state, gang.error["code"], gang.attempts_used) == (JobState.QUEUED, "node_unfit", 0)
    assert "the disk of scratch is short" in gang.error["message"]
    assert gang.error["params"]["what"]["msgid"] == fault.msgid
    assert list_states(gang) == [("test", MemberState.FAILED), ("other", MemberState.ENDED)]


def test_a_worker_that_does_not_answer_is_named_and_costs_no_attempt(gang, settings, monkeypatch):
    monkeypatch.setattr(settings, "ENV", settings.ENV.model_copy(update={"gang_join_seconds": 1.0}))
    assert tasks.run_next("cpu") == 1
    gang.refresh_from_db()
    assert (gang.state, gang.error["code"], gang.attempts_used) == (JobState.QUEUED, "gang_incomplete", 0)
    assert "missing: other" in gang.error["message"]
    assert list_states(gang) == [("test", MemberState.ENDED), ("other", MemberState.MISSING)]


@pytest.fixture
def attempt(gang, worker, worker_actor):
    """The first member's attempt, whose engine runs, as the other member's does."""
    job = services.claim_job(actor=worker_actor, node=worker.node, owner=worker.owner, queue="cpu")
    job.members.update(state=MemberState.RUNNING)
    return members.GangAttempt(job, actor=worker_actor)


def end_other(attempt, error: dict | None, state=MemberState.FAILED) -> None:
    attempt.job.members.filter(rank=1).update(state=state, error=error, ended_at=timezone.now())


def read_end(attempt) -> tuple[str, str | None, int]:
    job = Job.objects.get(pk=attempt.job.pk)
    return job.state, (job.error or {}).get("code"), job.attempts_used


@pytest.mark.parametrize("code", [0, 1])
def test_an_attempt_that_hung_ends_as_that_however_its_engine_ends(attempt, code):
    """Its ranks may go on, or fail, while their stacks are written."""
    attempt.stacks_at, attempt.relay.result = time.monotonic(), {"outputs": [], "summary": {}}
    with pytest.raises(AttemptStopped):
        attempt.finish_attempt(code)
    attempt.write_end(attempt.report_stop)
    assert read_end(attempt) == (JobState.QUEUED, "no_progress", 1)


def test_the_reason_of_a_member_that_is_slow_to_tell_it_is_waited_for(attempt, monkeypatch):
    """What another member's ranks are left with when a third one fails is told first."""
    Node.objects.create(name="third", host="third", queues=["cpu"], cpus=4, memory_bytes=8 * 2**30)
    third = JobMember.objects.create(
        job=attempt.job, attempt=1, rank=2, node_name="third", state=MemberState.RUNNING, owner="third:1"
    )
    end_other(attempt, {"code": "engine_crashed", "message": "Connection reset by peer"})

    def tell(_seconds: float) -> None:
        JobMember.objects.filter(pk=third.pk).update(
            state=MemberState.FAILED, error={"code": "out_of_memory", "message": "no"}, ended_at=timezone.now()
        )

    monkeypatch.setattr(members.time, "sleep", tell)
    attempt.fail({"code": "engine_crashed", "message": "Connection reset by peer"}, retry=True)
    assert read_end(attempt) == (JobState.QUEUED, "out_of_memory", 1)


def test_a_released_member_whose_end_failed_the_others_costs_no_attempt(attempt):
    end_other(attempt, None, MemberState.RELEASED)
    attempt.fail({"code": "engine_crashed", "message": "Connection reset by peer"}, retry=True)
    assert read_end(attempt) == (JobState.QUEUED, None, 0)


def test_nobody_is_waited_for_once_all_members_have_ended(attempt, monkeypatch):
    end_other(attempt, {"code": "engine_crashed", "message": "no"})
    monkeypatch.setattr(members.time, "sleep", lambda _seconds: pytest.fail("waited"))
    attempt.fail({"code": "engine_killed", "message": "no"}, retry=True)
    assert read_end(attempt) == (JobState.QUEUED, "engine_killed", 1)
