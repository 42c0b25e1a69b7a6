"""The queues at a glance, and what they leave behind for whoever looks back."""

from __future__ import annotations

import pytest
from django.db.models.functions import Now

from apps.core.errors import Refused
from apps.platform.jobs.kinds import Needs
from apps.platform.jobs.models import Job, QueueSample
from apps.platform.jobs.scheduling import queues
from apps.platform.nodes import samples
from apps.platform.nodes.models import Node

pytestmark = [pytest.mark.django_db, pytest.mark.services]


@pytest.fixture
def listed(actor_for, viewer):
    return lambda: {queue.name: queue for queue in queues.list_queues(actor_for(viewer))}


def test_counts_what_is_open(submit, child_of, claim, succeed, node, add_node, listed):
    add_node("n2", queues=["gpu"])
    succeed(submit() and claim())
    submit(), claim(), submit()
    child_of(submit())
    cpu, gpu = (listed()[name] for name in ("cpu", "gpu"))
    assert (cpu.queued, cpu.running, cpu.waiting, cpu.nodes) == (2, 1, 1, ["n1"])
    assert (gpu.queued, gpu.running, gpu.waiting, gpu.nodes, gpu.head) == (0, 0, 0, ["n2"], None)


def test_the_head_is_what_the_queue_gives_out_next(submit, node, listed):
    submit()
    pauses, urgent = submit(priority=9), submit(priority=5)
    Job.objects.filter(pk=pauses.pk).update(not_before=Now() + samples.timedelta(hours=1))
    found = listed()["cpu"]
    assert found.head == urgent
    assert found.wait["summary"] == "It starts as soon as a worker looks."
    Job.objects.exclude(pk=pauses.pk).delete()
    assert listed()["cpu"].head == pauses


def test_a_queue_that_nobody_serves_is_listed_with_its_reason(submit, node, listed):
    submit(needs=Needs(gpus=1))
    found = listed()["gpu"]
    assert (found.nodes, found.wait["summary"]) == (
        [],
        "It needs a GPU, and no node that serves the queue gpu is online.",
    )


@pytest.mark.parametrize("many", [1, 12])
def test_costs_the_same_for_any_number(submit, add_node, actor_for, viewer, many, django_assert_num_queries):
    for number in range(many):
        add_node(f"m{number}", queues=["cpu", f"q{number}"])
        submit()
        Job.objects.filter(queue="cpu").update(queue=f"q{number}")
    actor = actor_for(viewer)
    with django_assert_num_queries(5):
        assert len([queue for queue in queues.list_queues(actor) if queue.head]) == many


def test_open_counts_read_the_partial_indexes(submit, claim, node):
    submit(), claim(), submit()
    found = {(row.state, row.queue, row.kind): row.jobs for row in queues.count_open_jobs()}
    assert found == {("running", "cpu", "noop"): 1, ("queued", "cpu", "noop"): 1}


def test_a_sample_of_every_queue_once_in_fifteen_seconds(submit, claim, node, add_node, dispatcher):
    add_node("n2", queues=["gpu"])
    submit(), claim(), submit()
    assert queues.sample_queues(actor=dispatcher) == 2
    assert queues.sample_queues(actor=dispatcher) in (0, 2)  # 2 where a new quarter of a minute began in between
    cpu, gpu = (QueueSample.objects.filter(queue=name).earliest("at") for name in ("cpu", "gpu"))
    assert (cpu.queued, cpu.running, cpu.oldest_seconds is not None) == (1, 1, True)
    assert (gpu.queued, gpu.running, gpu.oldest_seconds) == (0, 0, None)


def test_two_dispatchers_leave_one_sample(submit, node, dispatcher, monkeypatch):
    now = samples.datetime.fromtimestamp(1_800_000_000, samples.UTC)
    monkeypatch.setattr(samples, "get_database_now", lambda: now)
    assert [queues.sample_queues(actor=dispatcher) for _ in range(2)] == [1, 0]
    assert QueueSample.objects.count() == 1


def test_samples_come_back_as_points(node, dispatcher, actor_for, viewer):
    queues.sample_queues(actor=dispatcher)
    asked = samples.parse_time_window({"step": "60"})
    ((_, told),) = queues.get_queue_samples(actor_for(viewer), "cpu", asked)
    assert (told["queued"], told["oldest_seconds"]) == (0, None)
    assert list(queues.get_samples_by_queue(actor_for(viewer), asked)) == ["cpu"]


def test_means_and_ends(dispatcher, monkeypatch):
    now = samples.datetime.fromtimestamp(1_800_000_000, samples.UTC)
    monkeypatch.setattr(samples, "get_database_now", lambda: now)
    for seconds, queued in ((600, 2), (585, 4), (90_000, 9)):
        QueueSample.objects.create(queue="cpu", at=now - samples.timedelta(seconds=seconds), queued=queued)
    assert queues.keep_samples(actor=dispatcher) == 2
    assert list(QueueSample.objects.filter(span=300).order_by("at").values_list("queued", flat=True)) == [9, 3]
    assert QueueSample.objects.filter(span=0).count() == 2


def test_sampling_takes_the_dispatcher(actor_for, sysadmin):
    for write in (queues.sample_queues, queues.keep_samples):
        with pytest.raises(Refused):
            write(actor=actor_for(sysadmin))


def test_a_node_that_is_gone_serves_nothing(node):
    Node.objects.all().delete()
    assert queues.list_served_queues() == set()
