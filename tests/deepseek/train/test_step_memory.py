"""Peak memory of a step in fp32 and in mixed precision: measured on a GPU alone, and nothing of the training moves."""

import pytest
import torch

from deepseek.job import Silent
from deepseek.train.device import Place
from deepseek.train.loop import Training
from deepseek.train.memory import measure_step_memory
from deepseek.train.run import _prepare
from deepseek.train.spec import TrainSpec
from tests.deepseek.train.conftest import QUICK

CPU, GPU = torch.device("cpu"), torch.device("cuda", 0)


class Recorder(Silent):
    """What a training reports, in memory."""

    def __init__(self):
        self.metrics, self.lines = {}, []

    def metric(self, name, value, step=None):
        self.metrics[name] = value

    def log(self, text, level="info"):
        self.lines.append(text)


@pytest.fixture
def training(flowers):
    spec = TrainSpec(task="classification", target="kind", **QUICK, dropout=0.5, precision="bf16")
    learner = _prepare(spec, {"table": flowers}, Silent()).learner
    return Training(spec, learner, Place(CPU, torch.bfloat16), Recorder())


@pytest.fixture
def peaks(training, monkeypatch):
    """The training as if on a GPU, whose passes reach 100 MB in fp32 and 60 MB in fp16."""
    reached, now = {"fp32": 100, "fp16": 60}, {}

    def run(place):
        if reached[place.numbers] is None:
            raise torch.OutOfMemoryError
        now["peak"] = reached[place.numbers] * 10**6

    monkeypatch.setattr(training, "run_trial_pass", run)
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", lambda device: now.clear())
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda device: now["peak"])
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: None)
    training.place = Place(GPU, torch.float16)
    return reached


def take_state(training):
    return (
        {name: tensor.tolist() for name, tensor in training.learner.get_weights().items()},
        [p.grad for p in training.parameters],
        training.optimizer.state_dict()["state"],
        training.scaler.state_dict(),
        torch.get_rng_state().tolist(),
        training.network.training,
    )


def test_a_trial_pass_changes_nothing(training):
    before = take_state(training)
    training.run_trial_pass(Place(CPU, None))
    training.run_trial_pass(training.place)
    assert take_state(training) == before


def test_nothing_is_measured_on_a_processor(training):
    measure_step_memory(training)
    assert (training.report.metrics, training.report.lines) == ({}, [])


def test_nor_in_fp32(training, peaks):
    training.place = Place(GPU, None)
    measure_step_memory(training)
    assert training.report.metrics == {}


def test_both_peaks_are_recorded(training, peaks):
    measure_step_memory(training)
    assert training.report.metrics == {
        "system/step_memory_fp32_megabytes": 100,
        "system/step_memory_fp16_megabytes": 60,
    }
    assert "40.0% less" in training.report.lines[0]


def test_fp32_need_not_fit(training, peaks):
    peaks["fp32"] = None
    measure_step_memory(training)
    assert training.report.metrics == {"system/step_memory_fp16_megabytes": 60}
    assert "does not fit" in training.report.lines[0]
