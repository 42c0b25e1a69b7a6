"""A training that no known node can hold is refused with the arithmetic, at exactly the border; so is a gang."""

from __future__ import annotations

import pytest

from apps.core.errors import Invalid
from apps.platform.artifacts.models import Artifact
from apps.platform.jobs.kinds import Needs
from apps.platform.jobs.models import Job
from apps.platform.jobs.scheduling.input_facts import INPUT_FACTS
from apps.platform.jobs.submission import InputSpec
from apps.platform.nodes.models import Node
from deepseek.fit.families import estimate_memory
from deepseek.fit.memory import DataFacts
from deepseek.train.spec import TrainSpec

pytestmark = pytest.mark.django_db
FACTS = DataFacts(rows=400_000, columns=10, number_columns=10)
SPEC = {
    "task": "regression",
    "target": "y",
    "hidden": [2048, 2048],
    "schedule": {"first_batch": 65_536, "last_batch": 65_536},
}
NEED = estimate_memory("train", TrainSpec(**SPEC), FACTS).host.total


@pytest.fixture
def train(submit, artifact: Artifact):
    def make(more=None, **asked) -> Job:
        inputs = [InputSpec(slot="table", digest=artifact.digest)]
        with INPUT_FACTS.override({"test": lambda project, digests: FACTS}):
            return submit(kind="train", spec={**SPEC, **(more or {})}, inputs=inputs, **asked)

    return make


def refuse(call) -> dict:
    with pytest.raises(Invalid) as refused:
        call()
    (error,) = refused.value.errors
    return error


def test_one_byte_too_few_is_refused_and_the_border_is_not(train, node):
    Node.objects.update(memory_bytes=NEED - 1)
    error = refuse(train)
    assert (error["code"], error["field"], error["limit"]) == ("memory_unfit", "/needs/memory_bytes", NEED - 1)
    assert f"needs {NEED / 1e9:.2f} GB of memory (parameters 0.02 + gradients 0.02" in error["message"]
    assert "micro_batch 32768" in error["hint"]
    assert not Job.objects.exists()
    Node.objects.update(memory_bytes=NEED)
    assert train().need_memory_bytes == max(NEED, 2 * 2**30)


def test_what_the_hint_says_fits(train, node):
    Node.objects.update(memory_bytes=NEED - 1)
    assert train({"micro_batch": 32_768}).pk


def test_a_plane_without_nodes_and_one_with_an_offline_node_wait(train, add_node):
    assert train().pk
    add_node("small", memory_bytes=2**28)
    assert refuse(train)["code"] == "memory_unfit"
    add_node("large", memory_bytes=2 * NEED)
    Node.objects.update(heartbeat_at=None)
    assert train().pk


def test_asking_for_less_or_more_is_kept(train, node):
    assert [train(needs=Needs(memory_bytes=size)).need_memory_bytes for size in (2**28, 2**40)] == [2**28, 2**40]


def test_nodes_of_other_queues_are_no_node(train, add_node):
    add_node("gpu", queues=["gpu"], memory_bytes=1)
    assert train().pk


def test_a_gpu_too_small_is_refused(train, add_node):
    estimate = estimate_memory("train", TrainSpec(**SPEC), FACTS, gpus=1)
    card = {"index": 0, "name": "A100", "memory_bytes": estimate.gpu.total - 1}
    node = add_node("gpu", queues=["gpu"], memory_bytes=2**36, gpus=[card])
    error = refuse(lambda: train(needs=Needs(gpus=1)))
    assert (error["code"], error["field"]) == ("memory_unfit", "/needs/gpu_memory_bytes")
    Node.objects.filter(pk=node.pk).update(gpus=[{**card, "memory_bytes": estimate.gpu.total}])
    assert train(needs=Needs(gpus=1)).need_gpu_memory_bytes == estimate.gpu.total


def test_a_table_that_nobody_knows_counts_by_its_bytes(submit, artifact, node):
    Artifact.objects.update(size=2**40)
    inputs = [InputSpec(slot="table", digest=artifact.digest)]
    assert refuse(lambda: submit(kind="train", spec=SPEC, inputs=inputs))["code"] == "memory_unfit"


def test_more_nodes_than_could_take_it_are_refused(submit, add_node):
    pair = Needs(cpus=3, nodes=2)
    assert submit(needs=pair).pk  # no node yet: it waits for them
    add_node("a", extras=["gang"])
    add_node("small", extras=["gang"], cpus=1)
    add_node("alone")
    error = refuse(lambda: submit(needs=pair))
    assert (error["code"], error["field"], error["limit"]) == ("nodes_unfit", "/needs/nodes", 1)
    assert "alone lacks gang; small needs 3 CPUs, 1 free" in error["hint"]
    offline = add_node("b", extras=["gang"])
    Node.objects.filter(pk=offline.pk).update(heartbeat_at=None)
    assert submit(needs=pair).pk
