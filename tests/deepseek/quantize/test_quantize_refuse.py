"""What is not quantized, and what is never written."""

import copy
import json

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from deepseek.job import EngineError, Silent
from deepseek.models.heldout import Heldout, write_heldout
from deepseek.models.manifest import LanguageArchitecture
from deepseek.quantize import forms, int8, onnx_forms, subjects
from deepseek.quantize import run as module
from deepseek.quantize.document import Tradeoff
from deepseek.quantize.int8 import trace
from deepseek.quantize.spec import QuantizeSpec
from tests.deepseek.export.conftest import make_family
from tests.deepseek.models.making import make_model
from tests.deepseek.quantize.conftest import fill_heldout, quantize_to


def refused(tmp_path, code, call, **parts):
    with pytest.raises(EngineError) as caught:
        call()
    error = caught.value
    assert (error.code, (tmp_path / "out").exists()) == (code, False)
    for name, part in parts.items():
        assert part in getattr(error, name)


def test_an_export_that_differs(quantize, model, tmp_path, monkeypatch):
    def wrong(network, example):
        other = copy.deepcopy(network)
        if isinstance(other.layers[0], torch.nn.Linear):
            other.layers[0].weight[0, 0] += 0.01
        return trace(other, example)

    monkeypatch.setattr(int8, "trace", wrong)
    refused(tmp_path, "export_differs", lambda: quantize(model), value="a relative difference of", limit="1e-05")


def test_fresh_inputs_are_compared_too(quantize, model, tmp_path, monkeypatch):
    """An export that is right for the held-out rows alone is found out."""
    largest = float(load_file(model / "heldout.safetensors")["features"].max())

    class Capped(torch.nn.Module):
        def __init__(self, network):
            super().__init__()
            self.network = network

        def forward(self, features):
            return self.network(features - torch.relu(features - largest))

    monkeypatch.setattr(int8, "trace", lambda network, example: trace(Capped(network), example))
    refused(tmp_path, "export_differs", lambda: quantize(model), message="fresh")


def test_an_8_bit_model_is_not_quantized_again(quantize, model, tmp_path):
    quantize(model, out="first")
    again = {name: tmp_path / "first" / file for name, file in (("model", "model.pt"), ("manifest", "model.json"))}
    refused(tmp_path, "model_format", lambda: quantize(model, inputs=again), value="torchscript")


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


def test_a_candidate_that_cannot_be_made(quantize, model, tmp_path, monkeypatch):
    """One that does not fit the family, or whose packages are missing, is an error only where it is named."""
    monkeypatch.setattr("deepseek.quantize.candidates.find_spec", lambda name: None)
    refused(
        tmp_path,
        "package_missing",
        lambda: quantize(model, candidates=["int8-onnx"]),
        field="/candidates",
        value="onnx, onnxscript, onnxruntime",
    )
    quantize(model, candidates=[])
    left_out = {left.name: left.reason for left in Tradeoff.read(tmp_path / "out/tradeoff.json").left_out}
    assert left_out == dict.fromkeys(("fp32-onnx", "int8-onnx", "int8-static", "int8-torchao"), "package_missing")


def test_a_candidate_of_another_family(tmp_path):
    folder = make_family(tmp_path / "texts", "entities")
    fill_heldout(folder, "entities")
    refused(
        tmp_path,
        "candidate_unfit",
        lambda: quantize_to(tmp_path / "out", folder, candidates=["int8-static"]),
        value="int8-static",
        limit="int8, int8-onnx, int8-torchao",
    )


@pytest.mark.parametrize("slot", ["heldout", "calibration"])
def test_one_class_in_the_calibration_set(quantize, tmp_path, slot):
    """It is named; the form would know no range of the other class."""
    make_model(tmp_path / "model", task="classification")
    rows = load_file(tmp_path / "model/heldout.safetensors")
    write_heldout(Heldout(rows["features"], np.zeros(len(rows["target"]), np.int64)), tmp_path / "one")
    refused(
        tmp_path,
        "calibration_one_class",
        lambda: quantize(tmp_path / "model", inputs={slot: tmp_path / "one"}, candidates=["int8-static"]),
        field=f"inputs/{slot}",
        value="no",
        message="class no",
    )


def test_a_calibration_set_that_does_not_fit(quantize, model, tmp_path):
    write_heldout(Heldout(np.zeros((3, 4), np.float32), np.zeros(3, np.float32)), tmp_path / "other")
    refused(
        tmp_path,
        "heldout_mismatch",
        lambda: quantize(model, inputs={"calibration": tmp_path / "other"}, candidates=["int8-static"]),
        field="inputs/calibration",
        value="(3, 4)",
    )


def test_a_language_model(quantize, model, tmp_path):
    document = json.loads((model / "model.json").read_text())
    language = LanguageArchitecture(model_type="deepseek_v3", vocabulary=100, context=32)
    document |= {"architecture": language.model_dump(), "task": "language"}
    (model / "model.json").write_text(json.dumps(document))
    refused(tmp_path, "family_unsupported", lambda: quantize(model), value="language", limit="mlp, image, entities")


def test_an_operator_that_is_not_supported(quantize, model, tmp_path, monkeypatch):
    """It is named, with what to change; of ONNX alone, the other candidates are still made."""
    load = subjects.load_network

    def load_other(manifest, path):
        network = load(manifest, path)
        compute = network.compute_logits
        network.compute_logits = lambda features: torch.special.bessel_j0(compute(features))
        return network

    with monkeypatch.context() as patch:
        patch.setattr(subjects, "load_network", load_other)
        refused(tmp_path, "operator_unsupported", lambda: quantize(model), value="bessel_j0", hint="Replace that")

    def fail(*_):
        raise forms.build_operator_error("fp32-onnx", "aten.bessel_j0")

    monkeypatch.setattr(onnx_forms, "write_fp32", fail)
    refused(tmp_path, "operator_unsupported", lambda: quantize(model, candidates=["int8-onnx"]), field="/candidates")
    quantize(model, candidates=[])
    left_out = {left.name: left.reason for left in Tradeoff.read(tmp_path / "out/tradeoff.json").left_out}
    assert left_out["fp32-onnx"] == left_out["int8-onnx"] == left_out["int8-static"] == "operator_unsupported"


def test_a_document_that_is_none(tmp_path):
    (tmp_path / "tradeoff.json").write_text("{}")
    with pytest.raises(EngineError) as caught:
        Tradeoff.read(tmp_path / "tradeoff.json")
    assert (caught.value.code, caught.value.limit) == ("tradeoff_unreadable", "plane/tradeoff/v1")
