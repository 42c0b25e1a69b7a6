"""What is not exported, and that nothing is written then."""

import json

import pytest
import torch

from deepseek.export import forms
from deepseek.export import run as module
from deepseek.job import EngineError
from deepseek.models.manifest import LanguageArchitecture, ModelManifest
from tests.deepseek.export.conftest import export_to


def refused(tmp_path, folder, code, **fields):
    with pytest.raises(EngineError) as caught:
        export_to(tmp_path / "out", folder, **fields)
    assert (caught.value.code, (tmp_path / "out").exists()) == (code, False)
    assert caught.value.hint
    return caught.value


def replace_network(monkeypatch, forward):
    """Let the model's network compute something else."""
    load = module.load_network

    def load_other(manifest, path):
        network = load(manifest, path)

        class Other(torch.nn.Module):
            def __init__(self):
                super().__init__()
                self.network = network
                self.register_buffer("input_mean", network.input_mean)
                self.register_buffer("input_scale", network.input_scale)

            def forward(self, features):
                return forward(self.network(features))

        return Other().eval()

    monkeypatch.setattr(module, "load_network", load_other)


def branch(outputs):
    if outputs.sum() > 1e6:
        return outputs * 2
    return outputs


BRANCH = f"test_export_refuse.py, line {branch.__code__.co_firstlineno + 1} branches on values"
FAULTS = {
    "a tampered byte": ("other bytes than its manifest names", lambda *_: None),
    "a branch": (BRANCH, lambda patch, _: replace_network(patch, branch)),
    "an operator": ("no operator for", lambda patch, _: replace_network(patch, torch.special.bessel_j0)),
    "a pickle": ("is a pickle", lambda _, path: torch.save({"weights": [1.0]}, path)),
}


def test_the_command_names_each_fault_and_its_remedy(deepseek, model, tmp_path, monkeypatch):
    """With exit code 2, no stack trace, and no folder."""
    path, wrong = model / "model.safetensors", []
    good = path.read_bytes()
    for name, (said, spoil) in FAULTS.items():
        path.write_bytes(good[:-1] + b"\x01" if name == "a tampered byte" else good)
        with monkeypatch.context() as patch:
            spoil(patch, path)
            ended = deepseek("export", model, "-o", "out", "--forms", "torchscript,onnx")
        clear = said in ended.stderr and "hint:" in ended.stderr and "Traceback" not in ended.stderr
        if (ended.returncode, clear, (tmp_path / "out").exists()) != (2, True, False):
            wrong.append((name, ended.returncode, ended.stderr))
    assert wrong == []


def test_a_tampered_model(model, tmp_path):
    path = model / "model.safetensors"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    assert refused(tmp_path, model, "model_tampered").field == "inputs/model"


def test_an_exported_model_is_not_exported_again(exported, tmp_path):
    refused(tmp_path, exported["mlp"][1], "model_format")


def test_a_language_model(model, tmp_path):
    document = json.loads((model / "model.json").read_text())
    language = LanguageArchitecture(model_type="deepseek_v3", vocabulary=10, context=8)
    document |= {"architecture": language.model_dump(mode="json"), "task": "language", "categories": {}}
    (model / "model.json").write_text(json.dumps(document))
    error = refused(tmp_path, model, "family_unsupported")
    assert (error.value, error.limit) == ("language", "mlp, image, entities")


def test_a_branch_on_values(model, tmp_path, monkeypatch):
    replace_network(monkeypatch, branch)
    error = refused(tmp_path, model, "export_branch")
    assert error.value == "if outputs.sum() > 1e6:"
    assert BRANCH in error.message


def test_an_operator_that_a_form_lacks(model, tmp_path, monkeypatch):
    replace_network(monkeypatch, lambda outputs: torch.special.bessel_j0(outputs))
    error = refused(tmp_path, model, "export_operator", forms=["pt2", "onnx"])
    assert (error.field, "bessel_j0" in error.value, error.limit) == ("/forms", True, "the forms pt2")


def test_a_failure_that_names_no_operator(model, tmp_path, monkeypatch):
    def fail(program, path):
        path.write_bytes(b"half")
        raise RuntimeError("first line\nadvice")

    monkeypatch.setattr(module, "write_pt2", fail)
    error = refused(tmp_path, model, "export_failed", forms=["pt2", "torchscript"])
    assert (error.message, error.limit) == (
        "The network cannot be written as pt2: first line",
        "the forms torchscript",
    )


def test_a_form_that_differs(model, tmp_path, monkeypatch):
    """A trace that took the number of rows for a constant, say: right for the traced size alone."""
    monkeypatch.setitem(
        module.OPENERS, "pt2", lambda path: lambda values: forms.open_pt2(path)(values) * (len(values) == 2)
    )
    error = refused(tmp_path, model, "export_differs", forms=["pt2"])
    assert ("1 x 3" in error.message, error.limit) == (True, "0.0001")


def test_without_the_packages_of_onnx(model, tmp_path, monkeypatch, report):
    monkeypatch.setattr(forms, "ONNX_PACKAGES", ("no_such_package",))
    assert "no_such_package" in refused(tmp_path, model, "package_missing", forms=["onnx"]).value
    result = export_to(tmp_path / "out", model, report)
    assert [output.slot for output in result.outputs][:2] == ["pt2", "model"]
    assert "no_such_package" in json.loads((tmp_path / "out/manifest.json").read_text())["left_out"]["onnx"]
    assert any(level == "warning" and "onnx is left out" in line for level, line in report.lines)
    assert ModelManifest.read(tmp_path / "out/model.json").variant == "torchscript"
