"""Where a job would run, told before it is queued."""

from datetime import timedelta

import pytest
from django.db.models.functions import Now
from django.utils import timezone

from apps.platform.jobs.kinds import KINDS, Needs
from apps.platform.jobs.models import Job, JobInput
from apps.platform.jobs.scheduling.schedule_estimate import MAX_JOBS_AHEAD, estimate_schedule
from apps.platform.nodes.models import Node

pytestmark = pytest.mark.django_db


@pytest.fixture
def look(actor_for, engineer, project):
    """look(needs=..., kind=...) -> what the engineer is told."""
    actor = actor_for(engineer)

    def ask(kind="noop", needs=None, **more):
        return estimate_schedule(actor, project, kind, needs or KINDS[kind].needs, **more)

    return ask


@pytest.fixture
def ended(project):
    """ended(seconds, ...) -> jobs of a kind that took so long, with an input of `size` bytes."""

    def make(*seconds, kind="noop", artifact=None):
        now = timezone.now()
        for took in seconds:
            facts = {"state": "succeeded", "claimed_at": now - timedelta(seconds=took), "ended_at": now, "grant": {}}
            made = Job.objects.create(project=project, kind=kind, spec="{}", time_limit_seconds=60, **facts)
            if artifact:
                JobInput.objects.create(job=made, slot="input", artifact=artifact)

    return make


def test_it_runs_at_once_where_there_is_room(look, node):
    told = look(needs=Needs(cpus=2))
    assert told.sentence == "Runs at once on n1: 4 CPUs and 8.6 GB of memory are free there."
    assert (told.state, told.ahead, told.wait_seconds, told.past, told.command) == ("succeeded", 0, 0.0, None, "")


@pytest.mark.parametrize("change", [{"heartbeat_at": None}, {"queues": ["other"]}])
def test_without_a_node_it_says_how_to_start_one(look, node, change):
    Node.objects.filter(pk=node.pk).update(**change)
    told = look()
    assert told.sentence == "No node of the queue cpu is online: it will wait until one is."
    assert (told.state, told.wait_seconds) == ("held", None)
    assert told.command == "NODE_QUEUES=cpu python manage.py worker"


def test_a_gpu_is_looked_for_in_its_own_queue(look, node):
    assert "queue gpu" in look(needs=Needs(gpus=1)).sentence


def test_too_large_for_every_node(look, node):
    told = look(needs=Needs(cpus=64))
    assert (told.state, told.nodes[0]["never"]) == ("failed", "needs 64 CPUs, 4 free")
    assert "large enough: on n1 it needs 64 CPUs" in told.sentence


def test_a_full_or_held_node_is_waited_for(look, node, submit, claim):
    submit(needs=Needs(cpus=3))
    claim()
    assert look(needs=Needs(cpus=2)).sentence == "It waits for room: n1 is busy: needs 2 CPUs, 1 free."
    Node.objects.filter(pk=node.pk).update(held_at=Now(), held_reason="fan")
    assert look().state == "queued"


def test_a_job_over_several_nodes_needs_as_many(look, node):
    needs = Needs(cpus=2, nodes=2)
    assert look(needs=needs).sentence == ("It needs 2 nodes, and 1 of the queue cpu are online: it will wait for more.")
    columns = {"queues": ["cpu"], "extras": ["gang"], "memory_bytes": 8 * 2**30, "heartbeat_at": Now()}
    Node.objects.filter(pk=node.pk).update(extras=["gang"])
    other = Node.objects.create(name="n2", host="n2", cpus=1, **columns)
    told = look(needs=needs)
    assert (told.state, "1 of the queue cpu are large enough: on n2" in told.sentence) == ("failed", True)
    Node.objects.filter(pk=other.pk).update(cpus=8)
    assert look(needs=needs).sentence == "Runs at once on 2 nodes: n2, n1."
    Node.objects.filter(pk=other.pk).update(held_at=Now(), held_reason="fan")
    assert look(needs=needs).state == "queued"


def test_it_stands_behind_those_that_go_first(look, node, submit):
    submit(), submit(priority=-1)
    last = submit()
    told = look()
    assert told.sentence == f"It waits in line behind 2 jobs, the last of them #{last.pk}."
    assert (told.ahead, told.predecessor, told.wait_seconds) == (2, last.pk, None)
    assert look(priority=5).state == "succeeded"


def test_a_job_of_another_project_is_counted_and_not_named(look, node, submit, other_project, actor_for, stranger):
    submit(who=actor_for(stranger), where=other_project)
    assert look().sentence == "It waits in line behind 1 job."


def test_the_wait_follows_from_what_such_jobs_took(look, node, submit, ended):
    ended(10, 30, 20)
    submit(), submit()
    assert look(needs=Needs(cpus=2)).wait_seconds == pytest.approx(2 * 20 / 2)
    submit(kind="noop", priority=9)
    assert look(needs=Needs(cpus=4)).wait_seconds == pytest.approx(60)


def test_a_kind_ahead_without_a_past_gives_no_estimate(look, node, submit, ended, artifact):
    ended(10)
    Job.objects.filter(pk=submit().pk).update(kind="clean")
    assert look().wait_seconds is None


def test_how_long_such_jobs_took(look, node, ended, artifact, add_artifact, project):
    ended(100, 100, kind="noop")
    told = look(size=5)
    assert (told.past.seconds, told.past.count, told.past.same_size) == (pytest.approx(100), 2, False)
    ended(1, 2, 3, artifact=artifact)
    told = look(size=5)
    assert (told.past.seconds, told.past.count, told.past.same_size) == (pytest.approx(2), 3, True)
    assert told.past.words == "median of the last 3 of this kind and size"
    assert look(size=500).past.words == "median of the last 5 of this kind, of other sizes"
    assert look().past.words == "median of the last 5 of this kind"


def test_jobs_of_other_projects_and_failures_tell_nothing(look, node, ended, other_project):
    ended(5)
    Job.objects.update(project=other_project)
    ended(5)
    Job.objects.exclude(project=other_project).update(state="failed")
    assert look().past is None


def test_a_long_line_costs_no_more(look, node, submit, django_assert_max_num_queries):
    first = submit()
    with django_assert_max_num_queries(5):
        look()
    fields = {
        f.attname: getattr(first, f.attname) for f in Job._meta.fields if f.attname not in ("id", "idempotency_key")
    }
    Job.objects.bulk_create(Job(**fields) for _ in range(MAX_JOBS_AHEAD))
    with django_assert_max_num_queries(5):
        told = look()
    assert told.sentence == f"Queued behind {MAX_JOBS_AHEAD} jobs or more."
    assert told.wait_seconds is None


def test_a_place_that_is_kept_for_a_larger_job_is_none_for_this_one(look, node, project):
    """`kept` waits for all of the node; what it leaves is free for smaller jobs behind it."""
    needs = {"need_cpus": node.cpus - 1, "reserved_on": node, "state": "queued", "queue": "cpu"}
    Job.objects.create(project=project, kind="noop", spec="{}", grant={}, time_limit_seconds=60, **needs)
    assert look(needs=Needs(cpus=1)).nodes[0]["why_not"] == ""
    assert "kept free for a larger job" in look(needs=Needs(cpus=2)).nodes[0]["why_not"]
    assert look(needs=Needs(cpus=2), priority=1).nodes[0]["why_not"] == ""
