"""Where a training computes, in which numbers, and that torch is left as it was."""

import pytest
import torch

from deepseek.job import EngineError, Silent
from deepseek.train import device
from deepseek.train.device import apply_settings, choose_place, derive_seed
from deepseek.train.spec import TrainSpec

FLOWERS = {"task": "classification", "target": "kind"}


def spec(**fields):
    return TrainSpec(**FLOWERS, **fields)


@pytest.fixture
def gpu(monkeypatch):
    """torch says that there is a GPU; nothing is computed on it."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: False)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda index: "Tesla T4")


def test_auto_takes_what_there_is(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert choose_place(spec()).words == "cpu in fp32"
    assert choose_place(spec(precision="bf16")).words == "cpu in bf16"


def test_auto_takes_the_gpu(gpu):
    place = choose_place(spec())
    assert (place.words, place.scaled) == ("cuda in fp16", True)
    assert choose_place(spec(device="cpu")).words == "cpu in fp32"
    assert not choose_place(spec(precision="fp32")).scaled


def test_auto_of_a_family_that_prefers_bf16(gpu, monkeypatch):
    assert choose_place(spec(), "bf16").words == "cuda in fp16"  # this GPU has none
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (7, 5))
    assert choose_place(spec(), "bf16").words == "cuda in fp16"  # this one emulates it
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (8, 0))
    assert [choose_place(spec(), mixed).words for mixed in ("bf16", "fp16")] == ["cuda in bf16", "cuda in fp16"]
    assert choose_place(spec(precision="fp16"), "bf16").scaled


def test_overflow_steps_are_a_metric(train, flowers):
    seen = {}

    class Recorder(Silent):
        def metric(self, name, value, step=None):
            seen[name] = value

    train(flowers, "out", Recorder(), **FLOWERS, precision="fp16")
    assert seen["overflow_steps"] == 0
    seen.clear()
    train(flowers, "full", Recorder(), **FLOWERS)
    assert "overflow_steps" not in seen


def test_no_gpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(EngineError) as caught:
        choose_place(spec(device="cuda"))
    assert (caught.value.code, caught.value.field) == ("device_unavailable", "/device")


def test_a_gpu_without_bf16(gpu):
    with pytest.raises(EngineError) as caught:
        choose_place(spec(precision="bf16"))
    assert caught.value.code == "precision_unavailable"
    assert "Tesla T4" in caught.value.message


@pytest.mark.parametrize("precision", ["fp16", "bf16"])
def test_mixed_precision_learns_as_well(train, flowers, precision):
    full = train(flowers, "full", **FLOWERS, epochs=15)
    mixed = train(flowers, "mixed", **FLOWERS, epochs=15, precision=precision)
    assert mixed.metrics["accuracy"] == pytest.approx(full.metrics["accuracy"], abs=0.06)
    assert mixed.metrics != full.metrics
    assert train(flowers, "again", **FLOWERS, epochs=15, precision=precision) == mixed


def test_torch_is_left_as_it_was():
    before = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled(), torch.get_rng_state().tolist()
    with apply_settings(spec(threads=before[0] + 1), device.Place(torch.device("cpu"), None)):
        assert torch.get_num_threads() == before[0] + 1
        assert torch.are_deterministic_algorithms_enabled()
        torch.manual_seed(9)
    after = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled(), torch.get_rng_state().tolist()
    assert after == before


def test_a_training_that_fails_leaves_torch_as_it_was(train, flowers):
    before = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled(), torch.get_rng_state().tolist()
    with pytest.raises(EngineError):
        train(flowers, task="regression", target="kind", threads=before[0] + 1)
    after = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled(), torch.get_rng_state().tolist()
    assert after == before


def test_no_memory_is_a_memory_error():
    place = device.Place(torch.device("cpu"), None)
    with pytest.raises(MemoryError), apply_settings(spec(), place):
        torch.empty(2**60)


def test_a_seed_for_each_purpose():
    seeds = [derive_seed(seed, purpose, n) for seed in (0, 1) for purpose in ("order", "weights") for n in (0, 1)]
    assert len(set(seeds)) == 8
    assert all(0 <= seed < 2**63 for seed in seeds)
