"""The memory of a training by part: what each field of its spec changes, and what would make it fit."""

import json

import pytest

from deepseek.fit.families import estimate_memory
from deepseek.fit.memory import LIBRARIES, DataFacts
from deepseek.fit.remedies import list_remedies
from deepseek.train.spec import ScheduleSpec, TrainSpec

FACTS = DataFacts(rows=20_000, columns=10, number_columns=10)
ROWS = 14_000  # of them to train on
WEIGHTS = 4 * (9 * 1024 + 1024 + 1024 * 1024 + 1024 + 1024 + 1)


def spec(**more):
    batch = ScheduleSpec(first_batch=16_384, last_batch=16_384)
    return TrainSpec(**{"task": "regression", "target": "y", "hidden": [1024, 1024], "schedule": batch, **more})


def estimate(nodes=1, gpus=0, **more):
    return estimate_memory("train", spec(**more), FACTS, nodes=nodes, gpus=gpus)


def test_every_part_is_counted_once():
    told = estimate()
    host = told.host
    assert (told.examples, told.gpu) == (ROWS, None)
    assert (host.gradients, host.optimizer, host.libraries) == (WEIGHTS, 2 * WEIGHTS, LIBRARIES)
    assert host.activations == ROWS * (4 * (9 + 2048) + 8 + 8 * 1024 + 4 * 9)
    assert host.data == 20_000 * 10 * 28
    assert host.as_dict()["total"] == host.total == sum(host.as_dict().values()) // 2


def test_a_checkpoint_is_counted_where_one_comes_due():
    assert estimate(epochs=1).host.total == estimate(epochs=1, checkpoint_every=1).host.total  # activations hide it
    small = {"micro_batch": 1, "hidden": [4096, 4096]}
    more = estimate(epochs=2, checkpoint_every=2, **small).host.copies - estimate(epochs=1, **small).host.copies
    weights = estimate(**small).host.parameters
    assert more == pytest.approx(2 * (4 - 1) * weights, rel=0.05)


def test_processes_and_nodes_share_a_batch_and_each_hold_a_copy():
    alone, several = estimate(), estimate(strategy="ddp", processes=2, nodes=2)
    assert several.examples == ROWS // 4
    assert several.host.parameters == 2 * alone.host.parameters
    assert several.host.gradients == 2 * WEIGHTS  # of two processes, each in DDP's buckets


def test_a_gpu_computes_in_16_bits_and_holds_the_examples():
    told = estimate(gpus=1)
    assert told.gpu.activations < 0.6 * estimate().host.activations
    assert told.gpu.data == 20_000 * (9 + 2) * 4
    assert told.host.activations == 0
    assert estimate(gpus=1, device="cpu").gpu is None


def test_a_kind_that_does_not_train_has_no_estimate():
    assert estimate_memory("clean", None, FACTS) is None


def test_remedies_are_the_largest_values_that_fit():
    limit = 600 * 10**6
    told = list_remedies("train", spec(), FACTS, lambda changed: changed.host.total <= limit)
    assert [name for name, _less in told] == ["micro_batch 7000", "schedule.last_batch 8192"]
    assert all(less.host.total <= limit for _name, less in told)
    assert list_remedies("train", spec(), FACTS, lambda changed: False) == []


def test_the_command_line_prints_the_parts(deepseek, tmp_path):
    table = tmp_path / "t.csv"
    table.write_text("a,b,y\n" + "1,2,3\n" * 20)
    words = ["fit", "train", str(table), "--task", "regression", "--target", "y", "--json"]
    told = json.loads(deepseek(*words).stdout)
    assert told["host"]["data"] == 20 * 3 * 28
    assert "activations" in deepseek(*words[:-1]).stdout
    assert deepseek("fit", "train", "--task", "nothing", "--target", "y").returncode == 2
