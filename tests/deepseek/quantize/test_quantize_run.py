"""Quantizing one model: what comes out, and that it is the same each time."""

import hashlib
import json
import warnings

import numpy as np
import pytest
import torch

from deepseek.models.figures import Figures
from deepseek.models.manifest import ModelManifest, compute_file_sha256
from deepseek.models.network import load_network
from deepseek.models.predictor import load_predictor
from tests.deepseek.models.making import make_model
from tests.deepseek.quantize.conftest import find_form


def test_the_outputs(quantize, model, tmp_path, report):
    result = quantize(model, report=report, batches=[1, 4], sensitivity_layers=2)
    out = tmp_path / "out"
    other = "fp32-torchscript" if find_form(out, "int8") == out else "int8"
    slot = "int8_dynamic" if other == "int8" else "fp32_torchscript"
    assert [(o.slot, o.path) for o in result.outputs] == [
        ("model", "model.pt"),
        ("manifest", "model.json"),
        ("figures", "figures.json"),
        (slot, f"{other}/model.pt"),
        (f"{slot}_manifest", f"{other}/model.json"),
        (f"{slot}_figures", f"{other}/figures.json"),
        ("exported", "fp32.pt"),
        ("tradeoff", "tradeoff.json"),
    ]
    names = ["figures.json", "fp32.pt", "model.json", "model.pt", other, "tradeoff.json"]
    assert sorted(path.name for path in out.iterdir()) == sorted(names)
    out = find_form(out, "int8")
    trained, manifest = ModelManifest.read(model / "model.json"), ModelManifest.read(out / "model.json")
    assert (manifest.variant, manifest.format) == ("int8", "torchscript")
    assert manifest.parent == trained.compute_digest()
    assert manifest.inputs == {name: compute_file_sha256(path) for name, path in files(model).items()}
    assert manifest.signature == trained.signature
    assert manifest.file.sha256 == compute_file_sha256(out / "model.pt")
    assert {stage for stage, *_ in report.stages} == {"read", "sensitivity", "quantize", "measure", "compare"}
    assert json.loads(json.dumps(result.as_dict()))["summary"]["size_ratio"] == result.size_ratio


def files(folder):
    names = {"model": "model.safetensors", "manifest": "model.json", "heldout": "heldout.safetensors"}
    return {slot: folder / name for slot, name in names.items()}


def test_the_figures(quantize, tmp_path):
    make_model(tmp_path / "model", task="classification", hidden=(64, 64))
    quantize(tmp_path / "model", batches=[1, 4], threads=1, confidence=0.9)
    folder = find_form(tmp_path / "out", "int8")
    figures = Figures.read(folder / "figures.json")
    assert [metric.name for metric in figures.metrics] == ["accuracy", "f1_macro", "log_loss"]
    assert all(metric.low <= metric.value <= metric.high for metric in figures.metrics)
    assert {metric.confidence for metric in figures.agreement.difference} == {0.9}
    assert all(metric.method.startswith("paired") for metric in figures.agreement.difference)
    assert figures.agreement.same_class.value > 0.9
    assert 0 < figures.agreement.max_abs_error < 0.1
    assert [(one.batch, one.threads, one.runs, one.against) for one in figures.latency] == [
        (1, 1, 10, "fp32 eager"),
        (4, 1, 10, "fp32 eager"),
    ]
    assert all(one.ratio == pytest.approx(one.against_median_us / one.median_us) for one in figures.latency)
    assert figures.size_bytes == (folder / "model.pt").stat().st_size
    assert figures.size_ratio > 1.5


def test_the_export_is_the_network_and_the_text_s_snippet_opens_it(quantize, model, tmp_path):
    quantize(model)
    features = np.random.default_rng(1).normal(size=(7, 5)).astype(np.float32)
    wanted = load_predictor(model).predict(features)
    out = tmp_path / "out"
    for path, tolerance in ((out / "fp32.pt", 1e-6), (find_form(out, "int8") / "model.pt", 0.05)):
        opened = torch.jit.load(str(path))
        with torch.no_grad():
            output = opened(torch.tensor(features.tolist()))
        assert np.abs(output.numpy() - wanted).max() < tolerance * np.abs(wanted).max()


def test_weights_are_8_bit(quantize, tmp_path):
    make_model(tmp_path / "model", hidden=(256,))
    quantize(tmp_path / "model")
    weights = 5 * 256 + 256
    rest = 4 * (256 + 1 + 12) + 4000  # biases and scales, and the code
    assert weights < (find_form(tmp_path / "out", "int8") / "model.pt").stat().st_size < weights + rest


def test_equal_inputs_give_equal_bytes(quantize, model, tmp_path):
    for out in ("one", "two"):
        quantize(model, out=out)
    for name in ("model.pt", "model.json"):
        one, two = (find_form(tmp_path / out, "int8") / name for out in ("one", "two"))
        assert one.read_bytes() == two.read_bytes()
    assert (tmp_path / "one/fp32.pt").read_bytes() == (tmp_path / "two/fp32.pt").read_bytes()


FLAGS = ("--runs", 10, "--batches", "1", "--candidates", "int8", "--sensitivity-layers", 0)


def test_another_process_gives_the_same_bytes(deepseek, quantize, model, tmp_path):
    quantize(model, out="here")
    run = deepseek("quantize", model, "-o", "there", *FLAGS)
    assert run.returncode == 0, run.stderr
    assert "Warning" not in run.stderr
    for name in ("model.pt", "model.json"):
        here, there = ((find_form(tmp_path / place, "int8") / name).read_bytes() for place in ("here", "there"))
        assert hashlib.sha256(here).hexdigest() == hashlib.sha256(there).hexdigest()


def test_torch_is_left_as_it_was(quantize, model):
    before = torch.get_num_threads(), torch.backends.quantized.engine
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        quantize(model, threads=2)
    assert before == (torch.get_num_threads(), torch.backends.quantized.engine)


def test_a_tiny_model_becomes_larger_and_that_is_said(quantize, tmp_path):
    make_model(tmp_path / "model", hidden=())
    quantize(tmp_path / "model")
    notes = Figures.read(find_form(tmp_path / "out", "int8") / "figures.json").notes
    assert any("larger than the trained file" in note for note in notes)
    assert any("no hidden layer" in note for note in notes)


def test_the_text_s_own_lines(quantize, model, tmp_path):
    """`quantize_dynamic(model, {torch.nn.Linear}, dtype=torch.qint8)` and `torch.jit.trace` give the same outputs."""
    quantize(model)
    network = load_network(ModelManifest.read(model / "model.json"), model / "model.safetensors")
    features = torch.from_numpy(np.random.default_rng(1).normal(size=(7, 5)).astype(np.float32))
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        quantized = torch.quantization.quantize_dynamic(network, {torch.nn.Linear}, dtype=torch.qint8)
        wanted = torch.jit.trace(quantized, features)(features)
    assert np.array_equal(load_predictor(find_form(tmp_path / "out", "int8")).predict(features.numpy()), wanted.numpy())
