"""A job over several nodes starts on all of them or on none, and holds nothing while it waits."""

from __future__ import annotations

import threading
from datetime import timedelta

import pytest
from django.db import connection
from django.db.models.functions import Now

from apps.core.errors import Invalid
from apps.platform.audit.models import AuditRecord
from apps.platform.jobs import services
from apps.platform.jobs.kinds import Needs
from apps.platform.jobs.models import Job, JobMember
from apps.platform.jobs.queries import explain_wait
from apps.platform.jobs.states import JobState, MemberState
from apps.platform.nodes.models import Node

pytestmark = [pytest.mark.django_db, pytest.mark.services]
PAIR = Needs(cpus=3, nodes=2)


@pytest.fixture
def pair(add_node):
    return [add_node(name, extras=["gang"]) for name in ("a", "b")]


@pytest.fixture
def join(worker_actor):
    def take(node, owner="w2"):
        return services.claim_member(actor=worker_actor, node=node, owner=owner)

    return take


def list_rows(job: Job) -> list[tuple[int, str, str, str]]:
    return [(m.rank, m.node_name, m.state, m.owner) for m in job.members.order_by("rank")]


def test_takes_all_nodes_at_once(submit, claim, pair, join):
    job = submit(needs=PAIR)
    taken = claim(on=pair[1])
    assert (taken.pk, taken.state, taken.node, taken.attempt) == (job.pk, JobState.RUNNING, pair[1], 1)
    assert list_rows(job) == [(0, "b", MemberState.JOINED, "w1"), (1, "a", MemberState.INVITED, "")]
    assert (join(pair[1]), join(pair[0]).state, join(pair[0])) == (None, MemberState.JOINED, None)
    actions = list(AuditRecord.objects.filter(action__in=["job.running", "jobmember.joined"]).values_list("action"))
    assert sorted(actions) == [("job.running",), ("jobmember.joined",)]


def test_takes_none_while_one_is_missing_and_others_pass_it(submit, claim, pair, succeed):
    submit(needs=Needs(cpus=3))
    busy = claim(on=pair[0])
    gang, small = submit(needs=PAIR, priority=5), submit()
    assert claim(on=pair[1]).pk == small.pk
    assert claim(on=pair[1]) is None
    assert not JobMember.objects.exists()
    succeed(busy)
    assert claim(on=pair[1]).pk == gang.pk


def test_a_member_takes_capacity_of_its_node(submit, claim, pair):
    submit(needs=PAIR)
    claim(on=pair[0])
    submit(needs=Needs(cpus=2))
    assert claim(on=pair[1]) is None
    submit(needs=Needs(cpus=1))
    assert claim(on=pair[1]) is not None


def test_gives_each_member_gpus_of_its_own_node(submit, claim, add_node):
    gpus = [{"index": number, "name": "A100", "memory_bytes": 40 * 2**30} for number in (0, 1)]
    nodes = [add_node(name, gpus=gpus, extras=["gang"], queues=["gpu"]) for name in ("a", "b")]
    first, second = (submit(needs=Needs(gpus=1, nodes=2)) for _ in range(2))
    assert [claim(on=nodes[0], queue="gpu").pk, claim(on=nodes[1], queue="gpu").pk] == [first.pk, second.pk]
    assert [m.devices for m in JobMember.objects.order_by("job", "rank")] == [[0], [0], [1], [1]]


def test_takes_no_node_that_cannot_be_a_member(submit, claim, pair, add_node, node):
    held, silent = add_node("held", extras=["gang"]), add_node("silent", extras=["gang"])
    Node.objects.filter(pk=held.pk).update(held_at=Now(), held_reason="fan")
    Node.objects.filter(pk=silent.pk).update(heartbeat_at=Now() - timedelta(minutes=1))
    submit(needs=Needs(cpus=3, nodes=3))
    assert [claim(on=one) for one in (node, *pair)] == [None, None, None]


def test_names_what_is_missing(submit, pair, actor_for, engineer, node):
    Node.objects.filter(pk=node.pk).update(extras=["gang"])
    job = submit(needs=Needs(cpus=3, memory_bytes=10**9, nodes=3))
    Node.objects.filter(pk=node.pk).update(extras=[])  # later: with too few from the start it would be refused
    wait = explain_wait(actor_for(engineer), job)
    assert wait["summary"] == (
        "It needs 3 nodes at once, each with 3 CPUs, 1.0 GB of memory. With room: 2; missing: 1. n1 lacks gang."
    )


def test_ends_all_members_with_the_attempt(submit, claim, pair, fail, join):
    submit(needs=PAIR)
    job = claim(on=pair[0])
    join(pair[1])
    fail(job, retry=True)
    assert [row[2] for row in list_rows(job)] == [MemberState.ENDED, MemberState.ENDED]
    submit(needs=Needs(cpus=4))
    assert claim(on=pair[1]) is not None


def test_leaves_out_who_did_not_join_in_time(submit, claim, pair, add_node, worker_actor, actor_for, engineer):
    submit(needs=PAIR)
    job = services.give_up_gang(actor=worker_actor, job=claim(on=pair[0]), seconds=60)
    assert (job.state, job.attempts_used, job.error["code"]) == (JobState.QUEUED, 0, "gang_incomplete")
    assert "1 of 2 nodes joined within 60 s; missing: b." in explain_wait(actor_for(engineer), job)["summary"]
    Job.objects.filter(pk=job.pk).update(not_before=None)
    job.refresh_from_db()
    assert claim(on=pair[0]) is None
    wait = explain_wait(actor_for(engineer), job)
    assert "b is left out: The worker on b did not answer within 60 s." in wait["summary"]
    add_node("c", extras=["gang"])
    assert claim(on=pair[0]).pk == job.pk
    assert [row[1] for row in list_rows(job)] == ["a", "a", "b", "c"]


def test_refuses_several_nodes_for_a_kind_of_one(submit, artifact):
    with pytest.raises(Invalid) as refused:
        submit(kind="profile", needs=Needs(nodes=2), inputs=[services.InputSpec(slot="table", digest=artifact.digest)])
    assert {error["code"] for error in refused.value.errors} == {"one_node_only"}


def test_partitions_over_nodes_go_where_dask_is(submit, claim, pair, add_node, artifact):
    def submit_clean(nodes):
        table = services.InputSpec(slot="table", digest=artifact.digest)
        return submit(kind="clean", needs=Needs(nodes=nodes), inputs=[table])

    assert submit_clean(1).need_extra == ""
    claim(on=pair[0])
    with pytest.raises(Invalid) as refused:
        submit_clean(2)
    [error] = refused.value.errors
    assert (error["code"], error["field"]) == ("extra_missing", "/kind")
    assert "deepseek-offline[scale]" in str(error["hint"])
    able = [add_node(name, extras=["gang", "scale"]) for name in ("c", "d")]
    job = submit_clean(2)
    assert claim(on=pair[1]) is None
    assert claim(on=able[0]).pk == job.pk
    assert [row[1] for row in list_rows(job)] == ["c", "d"]


@pytest.mark.parametrize("nodes", [0, 65])
def test_refuses_numbers_out_of_range(submit, nodes):
    with pytest.raises(Invalid) as refused:
        submit(needs=Needs(nodes=nodes))
    assert refused.value.errors[0]["field"] == "/needs/nodes"


@pytest.mark.django_db(transaction=True)
def test_claims_at_once_never_split_or_overbook(submit, worker_actor, add_node):
    nodes = [add_node(f"n{number}", cpus=2, extras=["gang"]) for number in range(4)]
    for number in range(8):
        submit(needs=Needs(cpus=1, nodes=2 + number % 2) if number % 4 else Needs(cpus=1))
    failures = []

    def work(node, owner):
        try:
            while services.claim_job(actor=worker_actor, node=node, owner=owner, queue="cpu"):
                pass
        except Exception as failure:  # a deadlock, for instance
            failures.append(failure)
        finally:
            connection.close()

    threads = [threading.Thread(target=work, args=(node, f"w{node.pk}")) for node in nodes]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert failures == []
    running = list(Job.objects.filter(state=JobState.RUNNING))
    taken = {node.pk: 0.0 for node in nodes}
    for job in running:
        members = list(job.members.all())
        assert len(members) == (job.need_nodes if job.need_nodes > 1 else 0)
        for pk in {member.node_id for member in members} or {job.node_id}:
            taken[pk] += job.need_cpus
    assert running
    assert max(taken.values()) <= 2


def test_page_and_rest_show_the_members(submit, claim, pair, client, api, engineer, url, project):
    job = submit(needs=PAIR)
    claim(on=pair[0])
    members = api(engineer).get(url(f"/{job.pk}")).json()["members"]
    assert [(m["rank"], m["node"], m["state"]) for m in members] == [(0, "a", "joined"), (1, "b", "invited")]
    client.force_login(engineer)
    page = client.get(f"/p/{project.slug}/jobs/{job.pk}").content.decode()
    assert "Preparing" in page
    assert "Invited" in page
