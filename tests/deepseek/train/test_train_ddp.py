"""Data-parallel training: as good as in one process, and it resumes bit for bit."""

import json

import pytest

from deepseek.job import EngineError, Silent, build_checkpoint_path
from tests.deepseek.train.conftest import draw_flowers

pytestmark = pytest.mark.e2e  # each training starts torchrun and two interpreters with torch

DDP = {"strategy": "ddp", "processes": 2, "task": "classification", "target": "kind"}


class Recorder(Silent):
    """Keeps the losses, and the bytes of every checkpoint as it was announced."""

    def __init__(self):
        self.losses, self.lines, self.checkpoints = [], [], {}

    def metric(self, name, value, step=0):
        if name in ("train_loss", "validation_loss"):
            self.losses.append((name, step, value))

    def log(self, text, *, level="info"):
        self.lines.append(text)

    def checkpoint(self, path, step):
        self.checkpoints[step] = path.read_bytes()


def test_has_the_loss_of_one_process(train, flowers):
    alone, shared = Recorder(), Recorder()
    # Of each batch one rank has 3 rows and the other 2: in micro-batches of 2, one has nothing left at the end.
    schedule = {"first_batch": 5, "last_batch": 5}
    train(flowers, "alone", alone, task="classification", target="kind", schedule=schedule)
    train(flowers, "shared", shared, **DDP, schedule=schedule, micro_batch=2)
    assert [loss[:2] for loss in shared.losses] == [loss[:2] for loss in alone.losses]
    assert [loss[2] for loss in shared.losses] == pytest.approx([loss[2] for loss in alone.losses], rel=1e-4)


def test_resumes_bit_for_bit(train, flowers, tmp_path):
    fields = {**DDP, "dropout": 0.2, "checkpoint_every": 10}
    whole, rest = Recorder(), Recorder()
    train(flowers, "whole", whole, **fields)
    checkpoint = tmp_path / "checkpoint"
    checkpoint.write_bytes(whole.checkpoints[10])
    train(flowers, "rest", rest, {"checkpoint": checkpoint}, **fields)
    assert any("checkpoint of step 10" in line for line in rest.lines)
    assert (tmp_path / "rest/model.safetensors").read_bytes() == (tmp_path / "whole/model.safetensors").read_bytes()
    assert not build_checkpoint_path(tmp_path / "rest").exists()
    assert [path.name for path in tmp_path.iterdir() if ".ranks-" in path.name] == []


def test_an_error_of_the_table_arrives_as_of_one_process(train, table):
    path = table("broken", **{**draw_flowers(), "kind": ["rose"] * 120})
    with pytest.raises(EngineError) as alone:
        train(path, "alone", task="classification", target="kind")
    with pytest.raises(EngineError) as shared:
        train(path, "shared", **DDP)
    assert json.dumps(shared.value.as_dict()) == json.dumps(alone.value.as_dict())
