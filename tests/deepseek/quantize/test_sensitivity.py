"""The layers that cost too much alone are named, and stay as they are in every 8-bit form."""

import numpy as np
import onnx
import torch
from safetensors.torch import load_file

from deepseek.models.heldout import Heldout, write_heldout
from deepseek.models.manifest import ModelManifest
from deepseek.models.network import load_network, save_network
from deepseek.quantize.document import Tradeoff
from deepseek.quantize.sensitivity import list_layers, round_inputs, round_weights
from tests.deepseek.models.making import make_model
from tests.deepseek.quantize.conftest import find_form, quantize_to


def make_sensitive(folder):
    """A classifier whose last layer adds two huge numbers that cancel out: 8 bits leave nothing of what decides."""
    make_model(folder, task="classification", inputs=2, hidden=(4, 4), rows=200)
    manifest = ModelManifest.read(folder / "model.json")
    network = load_network(manifest, folder / "model.safetensors")
    first, second, last = (network.layers[place] for place in (0, 2, 4))
    for layer in (first, second, last):
        layer.weight.zero_()
        layer.bias.zero_()
    first.weight[:2] = torch.tensor([[1.0, 0.0], [-1.0, 0.0]])
    second.weight[:2, :2] = torch.eye(2)
    second.bias[2] = 3e4  # its weight in the last layer is 0: only the range of the inputs is spoilt
    last.weight[1, :2] = torch.tensor([1.0, -1.0])
    network.input_mean.zero_()
    draw = np.random.default_rng(0)
    features = draw.normal(size=(200, 2)).astype(np.float32)
    write_heldout(Heldout(features, (features[:, 0] > 0).astype(np.int64)), folder / "heldout.safetensors")
    fields = {name: getattr(manifest, name) for name in ("architecture", "task", "target", "features", "classes")}
    save_network(network, folder, inputs={}, spec={}, **fields)


def test_a_sensitive_layer_stays_in_fp32(tmp_path):
    make_sensitive(tmp_path / "model")
    quantize_to(tmp_path / "out", tmp_path / "model", sensitivity_layers=24)
    document = Tradeoff.read(tmp_path / "out/tradeoff.json")
    kept = [layer.layer for layer in document.sensitivity.layers if layer.kept_fp32]
    assert kept == ["layers.4"]
    assert any("layers.4" in note for note in document.notes)
    for form in document.variants:
        assert form.layers_in_fp32 == (kept if form.precision == "int8" else [])
        if form.precision == "int8" and form.name != "int8-torchao":
            assert (form.name, form.loss.value, form.promotable) == (form.name, 0.0, True)
    graph = onnx.load(find_form(tmp_path / "out", "int8-onnx") / "model.onnx").graph
    plain = {node.name.partition("/")[0] for node in graph.node if node.op_type in ("MatMul", "Gemm")}
    assert plain == {"layers.4"}


def test_without_the_sensitivity_it_loses_and_is_not_promotable(tmp_path):
    make_sensitive(tmp_path / "model")
    quantize_to(tmp_path / "out", tmp_path / "model", candidates=["int8"])
    document = Tradeoff.read(tmp_path / "out/tradeoff.json")
    form = next(form for form in document.variants if form.name == "int8")
    assert (document.sensitivity, form.verdict, form.promotable) == (None, "loses_accuracy", False)
    assert form.loss.low > 0.5
    assert (document.recommended, form.slot) == ("fp32-torchscript", "int8_dynamic")


def test_bounds(tmp_path):
    """Only so many layers are tried, the largest first; the others are named."""
    make_model(tmp_path / "model", inputs=3, hidden=(16, 8))
    quantize_to(tmp_path / "out", tmp_path / "model", candidates=["int8"], sensitivity_layers=1, sensitivity_rows=10)
    sensitivity = Tradeoff.read(tmp_path / "out/tradeoff.json").sensitivity
    assert ([layer.layer for layer in sensitivity.layers], sensitivity.skipped, sensitivity.rows) == (
        ["layers.2"],
        ["layers.0", "layers.4"],
        10,
    )


def test_rounding(tmp_path):
    """As the definition says: steps of a 127th of each channel's largest weight, of a 255th of the inputs' range."""
    make_model(tmp_path, hidden=(6,))
    weights = load_file(tmp_path / "model.safetensors")["layers.0.weight"]
    steps = weights / (weights.abs().amax(dim=1, keepdim=True) / 127)
    assert torch.allclose(round_weights(weights), steps.round() * weights.abs().amax(dim=1, keepdim=True) / 127)
    values = torch.tensor([-1.0, 0.0, 0.013, 4.1])
    step = 5.1 / 255
    assert torch.allclose(round_inputs(values), (values / step).round() * step)
    assert round_weights(torch.zeros(2, 3)).abs().sum() == round_inputs(torch.zeros(3)).abs().sum() == 0
    network = load_network(ModelManifest.read(tmp_path / "model.json"), tmp_path / "model.safetensors")
    assert list(list_layers(network)) == ["layers.0", "layers.2"]
