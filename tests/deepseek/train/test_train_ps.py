"""Training with parameter servers: as good as in one process, resumes bit for bit, and stops when patience is over."""

import pytest

from deepseek.job import build_checkpoint_path
from tests.deepseek.train.test_train_ddp import Recorder

pytestmark = pytest.mark.e2e  # each training starts torchrun and some interpreters with torch

PS = {"strategy": "ps", "processes": 2, "servers": 2, "task": "classification", "target": "kind"}


def list_validation_losses(recorder):
    return [(step, value) for name, step, value in recorder.losses if name == "validation_loss"]


def test_sync_has_the_losses_of_one_process_and_resumes_bit_for_bit(train, flowers, tmp_path):
    fields = {"weight_decay": 0.1, "micro_batch": 3, "checkpoint_every": 10}
    alone, whole, rest = Recorder(), Recorder(), Recorder()
    train(flowers, "alone", alone, task="classification", target="kind", **fields)
    train(flowers, "whole", whole, **PS, **fields)
    losses = list_validation_losses(alone)
    assert [step for step, _ in list_validation_losses(whole)] == [step for step, _ in losses]
    served = [value for _, value in list_validation_losses(whole)]
    assert served == pytest.approx([value for _, value in losses], rel=1e-4)
    assert list(whole.checkpoints) == [step for step, _ in losses[:2]]  # ends of epochs, at least 10 steps apart

    checkpoint = tmp_path / "checkpoint"
    checkpoint.write_bytes(whole.checkpoints[losses[1][0]])
    train(flowers, "rest", rest, {"checkpoint": checkpoint}, **PS, **fields)
    assert any(f"checkpoint of step {losses[1][0]}" in line for line in rest.lines)
    assert (tmp_path / "rest/model.safetensors").read_bytes() == (tmp_path / "whole/model.safetensors").read_bytes()
    assert not build_checkpoint_path(tmp_path / "rest").exists()


def test_bounded_stops_when_patience_is_over(train, flowers):
    recorder = Recorder()
    fields = {"epochs": 200, "patience": 2, "dropout": 0.2, "server_mode": "bounded", "staleness": 1, "servers": 1}
    result = train(flowers, "out", recorder, **PS | fields)
    losses = [value for _, value in list_validation_losses(recorder)]
    best = result.summary["best_epoch"]
    assert result.summary["epochs"] == len(losses) == best + 2 < 200
    assert result.summary["best_validation_loss"] == min(losses) == losses[best - 1] < 0.6
