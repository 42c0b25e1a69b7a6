"""The first member of a job over several nodes, when the others, or its own node, do not come up to it."""

from __future__ import annotations

import pytest

from apps.platform.jobs.kinds import Needs
from apps.platform.jobs.states import JobState, MemberState
from apps.platform.nodes.models import Node
from apps.platform.nodes.services import record_heartbeat
from deepseek.messages import Message
from workers import tasks
from workers.gangs import members

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
