"""What is not quantized, and what is never written."""

import copy

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from deepseek.job import EngineError, Silent
from deepseek.models.heldout import Heldout, write_heldout
from deepseek.quantize import run as module
from deepseek.quantize.int8 import export
from deepseek.quantize.spec import QuantizeSpec
from tests.deepseek.models.making import make_model


def refused(tmp_path, code, call, **parts):
    with pytest.raises(EngineError) as caught:
        call()
    error = caught.value
    assert (error.code, (tmp_path / "out").exists()) == (code, False)
    for name, part in parts.items():
        assert part in getattr(error, name)


def test_an_export_that_differs(quantize, model, tmp_path, monkeypatch):
    def wrong(network):
        other = copy.deepcopy(network)
        other.layers[0].weight[0, 0] += 0.01
        return export(other)

    monkeypatch.setattr(module, "export", wrong)
    refused(tmp_path, "export_differs", lambda: quantize(model), value="a relative difference of", limit="1e-05")


def test_fresh_inputs_are_compared_too(quantize, model, tmp_path, monkeypatch):
    """An export that is right for the held-out rows alone is found out."""
    largest = float(load_file(model / "heldout.safetensors")["features"].max())

    class Capped(torch.nn.Module):
        def __init__(self, network):
            super().__init__()
            self.network, self.inputs = network, network.inputs

        def forward(self, features):
            return self.network(features - torch.relu(features - largest))

    monkeypatch.setattr(module, "export", lambda network: export(Capped(network)))
    refused(tmp_path, "export_differs", lambda: quantize(model), message="fresh rows")


def test_an_8_bit_model_is_not_quantized_again(quantize, model, tmp_path):
    quantize(model, out="first")
    again = {"heldout": model / "heldout.safetensors", "manifest": tmp_path / "first/model.json"}
    refused(
        tmp_path,
        "model_format",
        lambda: quantize(model, inputs=again | {"model": tmp_path / "first/model.pt"}),
        value="torchscript",
    )


def test_a_tampered_model(quantize, model, tmp_path):
    path = model / "model.safetensors"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    refused(tmp_path, "model_tampered", lambda: quantize(model), field="inputs/model")


def test_a_manifest_of_another_model(quantize, model, tmp_path):
    make_model(tmp_path / "other", seed=1)
    other = {"manifest": tmp_path / "other/model.json"}
    refused(tmp_path, "model_tampered", lambda: quantize(model, inputs=other))


def test_an_unsafe_pickle(quantize, model, tmp_path):
    torch.save({"layers.0.weight": torch.zeros(1)}, model / "model.safetensors")
    refused(tmp_path, "model_unsafe", lambda: quantize(model), message="not opened")


def test_rows_of_another_width(quantize, model, tmp_path):
    write_heldout(Heldout(np.zeros((3, 4), np.float32), np.zeros(3, np.float32)), model / "heldout.safetensors")
    refused(tmp_path, "heldout_mismatch", lambda: quantize(model), value="(3, 4)", limit="5")


@pytest.mark.parametrize("slot", ["model", "manifest", "heldout"])
def test_garbage(quantize, model, tmp_path, slot):
    path, wrong = tmp_path / "garbage", []
    for garbage in (b"", b"garbage", b"{}", b"PK\x03\x04", bytes(100)):
        path.write_bytes(garbage)
        with pytest.raises(EngineError) as caught:
            quantize(model, inputs={slot: path})
        if caught.value.field != f"inputs/{slot}" or not caught.value.hint or (tmp_path / "out").exists():
            wrong.append((garbage, caught.value.as_dict()))
    assert wrong == []


def test_a_slot_that_is_missing(model, tmp_path):
    given = {"model": model / "model.safetensors", "manifest": model / "model.json"}
    refused(
        tmp_path,
        "wrong_inputs",
        lambda: module.run(QuantizeSpec(), inputs=given, out=tmp_path / "out", report=Silent()),
        value="manifest, model",
    )


def test_no_library_for_8_bit_products(quantize, model, tmp_path, monkeypatch):
    monkeypatch.setattr("deepseek.quantize.int8.ENGINES", ("none such",))
    refused(tmp_path, "no_int8", lambda: quantize(model), field="/dtype", limit="none such")
