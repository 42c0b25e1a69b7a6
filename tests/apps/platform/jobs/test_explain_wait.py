import re
from datetime import timedelta

import pytest
from django.db.models.functions import Now

from apps.platform.jobs.kinds import KINDS, Needs
from apps.platform.jobs.models import Job
from apps.platform.jobs.queries import explain_queued, explain_wait
from apps.platform.nodes.models import Node

pytestmark = [pytest.mark.django_db, pytest.mark.services]


@pytest.fixture
def explain(actor_for, viewer):
    return lambda job: explain_wait(actor_for(viewer), Job.objects.get(pk=job.pk))


def test_counts_who_is_ahead(submit, explain, node):
    first, second, urgent = submit(), submit(), submit(priority=1)
    assert [explain(job)["position"] for job in (urgent, first, second)] == [0, 1, 2]
    assert explain(second)["summary"] == "2 jobs are ahead of it."
    assert explain(urgent)["summary"] == "It starts as soon as a worker looks."


def test_says_of_each_node_what_is_free_and_why_not(submit, claim, explain, node, add_node):
    submit(needs=Needs(cpus=3))
    claim()
    add_node("n2", queues=["gpu"])
    said = explain(submit(needs=Needs(cpus=2)))
    busy, other = said["nodes"]
    assert busy == {
        "node": "n1",
        "free": {"cpus": 1, "memory_bytes": 7 * 2**30, "gpus": []},
        "why_not": "is busy: needs 2 CPUs, 1 free",
        "room": busy["room"],
        "kept": False,
    }
    assert busy["room"]["jobs"] == [Job.objects.get(state="running").pk]
    assert other["room"] is None
    assert other["why_not"] == "does not serve the queue cpu"
    assert said["summary"] == "No node has capacity: n1 is busy: needs 2 CPUs, 1 free."


def test_nodes_are_ordered_by_when_they_can_take_the_job(submit, explain, add_node):
    add_node("a", queues=["gpu"])
    add_node("b", cpus=0.05)
    add_node("c")
    assert [row["node"] for row in explain(submit())["nodes"]] == ["c", "b", "a"]


@pytest.mark.parametrize(
    ("change", "summary"),
    [
        ({"heartbeat_at": None}, "No node that serves the queue cpu is online."),
        ({"queues": ["gpu"]}, "No node that serves the queue cpu is online."),
        ({"held_at": Now(), "held_reason": "fan"}, "No node has capacity: n1 is held: fan."),
        ({"cpus": 0.05}, "No node is large enough: n1 is too small: needs 0.1 CPUs, 0.05 free."),
    ],
)
def test_names_the_reason_that_counts(submit, explain, node, change, summary):
    Node.objects.filter(pk=node.pk).update(**change)
    assert explain(submit())["summary"] == summary


def test_a_job_that_needs_a_gpu_says_so(submit, explain, node, add_node):
    job = submit(needs=Needs(gpus=1, gpu_memory_bytes=40 * 10**9))
    assert explain(job)["summary"] == "It needs a GPU, and no node that serves the queue gpu is online."
    add_node("g1", queues=["gpu"], gpus=[{"index": 0, "name": "T4", "memory_bytes": 16 * 10**9}])
    assert explain(job)["summary"] == "No node is large enough: g1 is too small: needs 1 GPU(s) with 40 GB, 1 free."


def test_a_node_with_too_little_memory_for_training_says_so(submit, explain, node, artifact):
    Node.objects.filter(pk=node.pk).update(memory_bytes=int(1.8 * 10**9))
    job = submit(needs=KINDS["train"].needs)
    assert explain(job)["summary"] == ("No node is large enough: n1 is too small: needs 2.1 GB of memory, 1.8 GB free.")


def test_the_pause_after_a_failure(submit, claim, fail, explain):
    submit()
    job = fail(claim(), retry=True)
    Job.objects.update(not_before=Now() + timedelta(seconds=30))
    assert re.fullmatch(r"Next attempt in \d+ s\. The last attempt failed: It broke\.", explain(job)["summary"])


def test_the_pause_of_another_projects_job_keeps_its_reason(
    submit, claim, fail, node, actor_for, viewer, other_project
):
    submit()
    job = fail(claim(), retry=True)
    Job.objects.update(not_before=Now() + timedelta(seconds=30), project=other_project)
    (told,) = explain_queued(actor_for(viewer), [Job.objects.get(pk=job.pk)])
    assert re.fullmatch(r"Next attempt in \d+ s\.", told["summary"])


def test_a_stalled_job_says_that_it_costs_nothing(submit, claim, fail, explain):
    submit()
    job = fail(claim(), retry=True, counts=False)
    assert explain(job)["summary"].endswith(" Stalled, which costs no attempt: It broke.")


def test_a_node_with_a_short_disk_takes_nothing_and_says_so(submit, claim, explain, node):
    short = [{"name": "scratch", "free_bytes": 3_100_000, "needed_bytes": 512 * 2**20}]
    Node.objects.filter(pk=node.pk).update(load={"short_disks": short})
    job = submit()
    assert claim() is None
    why = "is short of disk: 3.1 MB free for scratch, 536.9 MB needed"
    assert explain(job)["summary"] == f"No node has capacity: n1 {why}."


def test_a_node_with_a_failed_required_check_takes_nothing_and_says_so(submit, claim, explain, node):
    Node.objects.filter(pk=node.pk).update(failed_checks=["gpu.xid", "mem.ecc"])
    job = submit()
    assert claim() is None
    why = "failed required checks of its doctor: gpu.xid, mem.ecc"
    assert explain(job)["summary"] == f"No node has capacity: n1 {why}."
    Node.objects.filter(pk=node.pk).update(failed_checks=[])
    assert claim().pk == job.pk


def test_parents(submit, child_of, explain):
    parent = submit()
    said = explain(child_of(parent))
    assert (said["position"], said["summary"]) == (None, f"It waits for #{parent.pk} (Queued).")


def test_one_that_runs_waits_for_nothing(running, explain):
    assert explain(running) == {"position": None, "summary": "", "nodes": []}


@pytest.mark.parametrize("nodes", [1, 30])
def test_costs_the_same_for_any_number_of_nodes(submit, actor_for, viewer, add_node, nodes, django_assert_num_queries):
    for number in range(nodes):
        add_node(f"m{number}")
    actor, job = actor_for(viewer), submit()
    with django_assert_num_queries(3):
        explain_wait(actor, job)
