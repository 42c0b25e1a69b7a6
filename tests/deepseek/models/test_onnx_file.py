"""ONNX models: opened by ONNX Runtime, and only where they do nothing but compute."""

import json

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from deepseek.entities.predictor import open_entities
from deepseek.job import EngineError
from deepseek.models.manifest import EntitiesArchitecture, ModelFile, ModelManifest, compute_file_sha256
from deepseek.models.network import build_signature
from deepseek.models.predictor import OnnxPredictor, load_predictor, open_model
from tests.deepseek.models.making import make_model


def build_onnx(nodes=None, inputs=5, outputs=2, kind=TensorProto.FLOAT, shape=("rows", 5), **tensor):
    """The sum of the features, for each output."""
    weights = helper.make_tensor("weights", TensorProto.FLOAT, (inputs, outputs), np.ones(inputs * outputs, "f4"))
    for name, value in tensor.items():
        setattr(weights, name, value)
    graph = helper.make_graph(
        nodes or [helper.make_node("MatMul", ["x", "weights"], ["y"])],
        "graph",
        [helper.make_tensor_value_info("x", kind, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [weights],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


def write_model(folder, data):
    """A model folder of the format onnx with these bytes."""
    make_model(folder, task="classification")
    path = folder / "model.onnx"
    path.write_bytes(data if isinstance(data, bytes) else data.SerializeToString())
    file = ModelFile(name=path.name, sha256=compute_file_sha256(path), size=path.stat().st_size)
    manifest = ModelManifest.read(folder / "model.json").model_copy(update={"format": "onnx", "file": file})
    (folder / "model.json").write_text(manifest.to_json())
    return folder


def test_rows_of_any_number(tmp_path, monkeypatch):
    predictor = load_predictor(write_model(tmp_path, build_onnx()))
    assert isinstance(predictor, OnnxPredictor)
    rows = np.random.default_rng(0).normal(size=(7, 5)).astype(np.float32)
    expected = np.repeat(rows.sum(axis=1, keepdims=True), 2, axis=1)
    assert np.allclose(predictor.predict(rows), expected, atol=1e-5)
    assert np.allclose(predictor.bind(rows)()[0], expected, atol=1e-5)
    assert predictor.predict(rows[:0]).shape == (0, 2)
    monkeypatch.setattr("deepseek.models.predictor_base.CHUNK_ROWS", 3)
    assert np.allclose(predictor.predict(rows), expected, atol=1e-5)


def test_what_is_not_opened(tmp_path):
    """Each bad file, and the code and words that it is refused with."""
    body = helper.make_graph([], "body", [], [])
    good = build_onnx().SerializeToString()
    external = build_onnx(data_location=TensorProto.EXTERNAL)
    external.graph.initializer[0].external_data.add(key="location", value="../model.json")
    attribute = helper.make_node("Constant", [], ["y"], value=external.graph.initializer[0])
    cast = [
        helper.make_node("Cast", ["x"], ["z"], to=TensorProto.FLOAT),
        helper.make_node("MatMul", ["z", "weights"], ["y"]),
    ]
    functions = build_onnx()
    functions.functions.add(name="Own", domain="own")
    bad = {
        "model_unsafe: refers to another file": [external, build_onnx(nodes=[attribute])],
        "model_unsafe: a graph within the graph": [
            build_onnx(nodes=[helper.make_node("Loop", ["x"], ["y"], body=body)]),
        ],
        "model_unsafe: of a library": [build_onnx(nodes=[helper.make_node("Own", ["x"], ["y"], domain="own")])],
        "model_unsafe: functions of its own": [functions],
        "model_unsafe: a pickle": [b"\x80\x04.", b"PK\x03\x04" + bytes(30)],
        "model_unreadable: no ONNX": [b"", b"garbage", b"{}", bytes(100), good[:-20], good[: len(good) // 2]],
        "model_unreadable: NoSuchOperator": [build_onnx(nodes=[helper.make_node("NoSuchOperator", ["x"], ["y"])])],
        "model_mismatch: does not take": [
            build_onnx(outputs=3),
            build_onnx(inputs=4, shape=("rows", 4)),
            build_onnx(cast, kind=TensorProto.DOUBLE),
        ],
    }
    wrong = []
    for number, (expected, content) in enumerate((key, data) for key, several in bad.items() for data in several):
        code, _, words = expected.partition(": ")
        try:
            load_predictor(write_model(tmp_path / str(number), content))
        except EngineError as error:
            if error.code != code or words not in error.message or not error.hint:
                wrong.append((expected, error.as_dict()))
        else:
            wrong.append((expected, "opened"))
    assert wrong == []


def test_a_tampered_byte(tmp_path):
    folder = write_model(tmp_path, build_onnx())
    data = bytearray((folder / "model.onnx").read_bytes())
    data[-1] ^= 1
    (folder / "model.onnx").write_bytes(data)
    with pytest.raises(EngineError) as caught:
        load_predictor(folder)
    assert caught.value.code == "model_tampered"


def test_without_onnx_runtime(tmp_path, monkeypatch):
    folder = write_model(tmp_path, build_onnx())
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(EngineError) as caught:
        load_predictor(folder)
    assert (caught.value.code, "deepseek-offline[onnx]" in caught.value.hint) == ("package_missing", True)


def test_entities_in_onnx(tmp_path):
    """Texts to spans; the vocabulary is in the file's metadata, and one that does not fit is refused."""
    architecture = EntitiesArchitecture(labels=["P"], words=2, buckets=64, max_length=8, width=8, layers=1, heads=1)
    nodes = [
        helper.make_node("Cast", ["x"], ["numbers"], to=TensorProto.FLOAT),
        helper.make_node("MatMul", ["numbers", "weights"], ["y"]),
    ]
    made = build_onnx(nodes, inputs=10, outputs=3, kind=TensorProto.INT64, shape=("rows", "tokens", 10))
    assets = {"tokenizer": 1, "vocabulary": ["ada", "left"], "labels": ["P"], "continuation": [0.5]}
    folder = write_model(tmp_path / "model", made)
    for vocabulary, code in (("ada", "model_mismatch"), (["ada", "left"], None), (None, "model_unreadable")):
        text = json.dumps(assets | {"vocabulary": vocabulary}) if vocabulary else "[]"
        helper.set_model_props(made, {"assets": text})
        onnx.save(made, folder / "model.onnx")
        path = folder / "model.onnx"
        manifest = ModelManifest.read(folder / "model.json").model_copy(
            update={
                "architecture": architecture,
                "task": "entities",
                "signature": build_signature(architecture),
                "file": ModelFile(name=path.name, sha256=compute_file_sha256(path), size=path.stat().st_size),
            }
        )
        if code is None:
            assert [list(spans) for spans in open_entities(manifest, path).predict(["Ada left.", ""])][1] == []
            continue
        with pytest.raises(EngineError) as caught:
            open_entities(manifest, path)
        assert caught.value.code == code


def test_another_format_than_the_manifest_names(tmp_path):
    make_model(tmp_path)
    manifest = ModelManifest.read(tmp_path / "model.json").model_copy(update={"format": "onnx"})
    with pytest.raises(EngineError) as caught:
        open_model(manifest, tmp_path / "model.safetensors")
    assert caught.value.code == "model_unreadable"
