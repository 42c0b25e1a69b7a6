"""What is not compiled, and which libraries are not opened."""

import importlib.util

import pytest

from deepseek.job import EngineError
from deepseek.models.manifest import ModelManifest
from deepseek.models.predictor import load_predictor


def refused(code, call):
    with pytest.raises(EngineError) as caught:
        call()
    assert caught.value.code == code
    assert caught.value.hint
    return caught.value


def test_outputs_that_differ(compiled, model, tmp_path):
    error = refused("compiled_differs", lambda: compiled(model, tolerance=1e-30, batch=32))
    assert error.limit == "1e-30"
    assert not (tmp_path / "out").exists()


def test_a_form_that_was_not_trained(made, compiled, tmp_path):
    again = {"model": made.out / "model.so", "manifest": made.out / "model.json"}
    refused("model_format", lambda: compiled(made.model, inputs=again))
    assert not (tmp_path / "out").exists()


def test_a_tampered_library(copied):
    path = copied / "model.so"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    refused("model_tampered", lambda: load_predictor(copied))


def test_a_manifest_that_names_another_batch(copied):
    path = copied / "model.json"
    manifest = ModelManifest.read(path)
    path.write_text(manifest.model_copy(update={"machine": manifest.machine | {"batch": 2}}).to_json())
    refused("model_mismatch", lambda: load_predictor(copied))


def test_a_processor_that_lacks_what_the_code_needs(copied, monkeypatch):
    if not ModelManifest.read(copied / "model.json").machine["needs"]:
        pytest.skip("nothing is known to be needed here")
    monkeypatch.setattr("deepseek.models.tvm_library.read_cpu_flags", lambda: frozenset({"sse2"}))
    assert "lacks" in refused("machine_mismatch", lambda: load_predictor(copied)).message


def test_tvm_is_not_installed(compiled, model, tmp_path, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert "pip install" in refused("package_missing", lambda: compiled(model)).hint
    assert not (tmp_path / "out").exists()
