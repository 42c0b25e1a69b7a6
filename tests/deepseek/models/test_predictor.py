"""One way to predict with a model in any of its forms, and what is never opened."""

import json
import pickle  # noqa: TID251  what must not be opened has to be made first

import numpy as np
import pytest
import torch

from deepseek.job import EngineError
from deepseek.models.manifest import ModelManifest, compute_file_sha256
from deepseek.models.predictor import load_predictor, open_model
from deepseek.models.predictor_base import CHUNK_ROWS
from deepseek.models.tvm_library import check_machine
from tests.deepseek.models.making import make_model

ELF_ARM = b"\x7fELF\x02\x01\x01" + bytes(9) + b"\x03\x00\xb7\x00" + bytes(40)
ELF_HERE = ELF_ARM.replace(b"\xb7", b"\x3e")


def refused(code, call):
    with pytest.raises(EngineError) as caught:
        call()
    assert caught.value.code == code
    assert caught.value.hint
    return caught.value


def forged(folder, path, format_, **machine):
    """A manifest that names the bytes at `path`, as an attacker would write it."""
    manifest = ModelManifest.read(folder / "model.json")
    file = manifest.file.model_copy(
        update={"name": path.name, "sha256": compute_file_sha256(path), "size": path.stat().st_size}
    )
    return manifest.model_copy(update={"format": format_, "file": file, "machine": machine})


@pytest.fixture
def model(tmp_path):
    make_model(tmp_path, task="classification")
    return tmp_path


def test_rows_of_any_number(model):
    predictor = load_predictor(model)
    features = np.random.default_rng(0).normal(size=(CHUNK_ROWS + 3, 5)).astype(np.float32)
    outputs = predictor.predict(features)
    assert (outputs.shape, outputs.dtype) == ((CHUNK_ROWS + 3, 2), np.float32)
    assert np.abs(predictor.predict(features[-1:]) - outputs[-1:]).max() < 1e-6
    assert predictor.predict(features[:0]).shape == (0, 2)


def test_rows_in_another_layout(model):
    features = np.random.default_rng(0).normal(size=(5, 4))
    predictor = load_predictor(model)
    wanted = predictor.predict(np.ascontiguousarray(features.T, dtype=np.float32))
    assert np.array_equal(predictor.predict(features.T), wanted)


@pytest.mark.parametrize("shape", [(5,), (2, 4), (2, 6), (1, 2, 5), (0, 4)])
def test_another_width(model, shape):
    error = refused("shape_mismatch", lambda: load_predictor(model).predict(np.zeros(shape, np.float32)))
    assert "5" in error.limit
    assert str(shape[-1]) in error.value


def test_a_bound_call_gives_the_same(model):
    features = np.ones((3, 5), np.float32)
    predictor = load_predictor(model)
    with torch.inference_mode():
        assert np.array_equal(predictor.bind(features)().numpy(), predictor.predict(features))


def test_an_empty_folder(tmp_path):
    refused("no_model_folder", lambda: load_predictor(tmp_path))


def test_a_missing_file(model):
    (model / "model.safetensors").unlink()
    refused("model_file_missing", lambda: load_predictor(model))


@pytest.mark.parametrize("format_", ["safetensors", "torchscript", "tvm"])
def test_tampered_bytes(model, format_):
    path = model / "model.bin"
    path.write_bytes(b"as it was")
    manifest = forged(model, path, format_)
    path.write_bytes(b"otherwise")
    refused("model_tampered", lambda: open_model(manifest, path))


def test_a_size_that_the_file_does_not_have(model):
    """The approver reads it, and the registry keeps it in a column of 64 bits."""
    manifest = ModelManifest.read(model / "model.json")
    for size in (manifest.file.size - 1, 10**30):
        named = manifest.model_copy(update={"file": manifest.file.model_copy(update={"size": size})})
        error = refused("model_tampered", lambda named=named: open_model(named, model / "model.safetensors"))
        assert (error.value, error.limit) == (str(manifest.file.size), str(size))


@pytest.mark.parametrize("protocol", [0, 2, 5])
@pytest.mark.parametrize("format_", ["safetensors", "torchscript", "tvm"])
def test_a_pickle_is_never_run(model, tmp_path, format_, protocol):
    class Bomb:
        def __reduce__(self):
            return (open, (str(tmp_path / "run"), "w"))

    path = model / "model.bin"
    path.write_bytes(pickle.dumps(Bomb(), protocol))
    with pytest.raises(EngineError) as caught:
        open_model(forged(model, path, format_, batch=1, threads=1), path)
    assert caught.value.code in ("model_unsafe", "model_unreadable")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("format_", ["safetensors", "torchscript"])
def test_a_module_saved_whole_is_never_run(model, format_):
    path = model / "model.bin"
    torch.save(torch.nn.Linear(5, 2), path)
    refused("model_unsafe", lambda: open_model(forged(model, path, format_), path))


def test_a_library_for_another_processor(model):
    path = model / "model.so"
    path.write_bytes(ELF_ARM)
    error = refused("machine_mismatch", lambda: open_model(forged(model, path, "tvm", batch=1, mcpu="a72"), path))
    assert "a72 (aarch64)" in error.message
    assert error.value == "aarch64 a72"


def test_a_library_for_a_newer_processor(model, monkeypatch):
    monkeypatch.setattr("deepseek.models.tvm_library.get_arch", lambda: "x86_64")
    path = model / "model.so"
    path.write_bytes(ELF_HERE)
    error = refused(
        "machine_mismatch", lambda: check_machine(forged(model, path, "tvm", needs=["avx9000", "avx9001"]), path)
    )
    assert "lacks avx9000, avx9001" in error.message


@pytest.mark.parametrize("content", [b"", b"garbage", b"\x7fELF", b"#!/bin/sh\nexit\n" * 10])
def test_what_is_no_library(model, content):
    path = model / "model.so"
    path.write_bytes(content)
    refused("model_unreadable", lambda: open_model(forged(model, path, "tvm", batch=1, threads=1), path))


@pytest.mark.parametrize("machine", [{}, {"batch": 0}, {"batch": "1"}, {"batch": 1.5}])
def test_a_compiled_model_without_its_batch(model, monkeypatch, machine):
    monkeypatch.setattr("deepseek.models.tvm_library.get_arch", lambda: "x86_64")
    path = model / "model.so"
    path.write_bytes(ELF_HERE)
    assert (
        "/machine/batch"
        in refused("manifest_unreadable", lambda: open_model(forged(model, path, "tvm", **machine), path)).message
    )


@pytest.mark.parametrize("needs", [5, [1], [["avx"]], None])
def test_a_compiled_model_with_needs_that_are_no_names(model, monkeypatch, needs):
    monkeypatch.setattr("deepseek.models.tvm_library.get_arch", lambda: "x86_64")
    path = model / "model.so"
    path.write_bytes(ELF_HERE)
    manifest = forged(model, path, "tvm", batch=1, threads=1, needs=needs)
    assert "/machine/needs" in refused("manifest_unreadable", lambda: open_model(manifest, path)).message


@pytest.mark.parametrize(
    "wrong", [{"hidden": [-1]}, {"hidden": [2**40]}, {"inputs": 10**30}, {"hidden": [8] * 5000}, {"dropout": 5.0}]
)
def test_an_architecture_that_no_network_has(model, wrong):
    document = json.loads((model / "model.json").read_text())
    document["architecture"] |= wrong
    (model / "model.json").write_text(json.dumps(document))
    error = refused("manifest_unreadable", lambda: load_predictor(model))
    assert f"/architecture/{next(iter(wrong))}" in error.message


def test_a_target_longer_than_a_column_is_called(model):
    document = json.loads((model / "model.json").read_text()) | {"target": "y" * 501}
    (model / "model.json").write_text(json.dumps(document))
    assert "/target" in refused("manifest_unreadable", lambda: load_predictor(model)).message


def test_tvm_is_not_installed(model, monkeypatch):
    monkeypatch.setattr("deepseek.models.tvm_library.get_arch", lambda: "x86_64")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    path = model / "model.so"
    path.write_bytes(ELF_HERE)
    error = refused("package_missing", lambda: open_model(forged(model, path, "tvm", batch=1, threads=1), path))
    assert "pip install" in error.hint
