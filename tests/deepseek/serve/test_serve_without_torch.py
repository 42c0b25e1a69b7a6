"""ONNX models where PyTorch, pandas, PyArrow and TVM's compiler are not installed, as on a device."""

import json
import subprocess
import sys
import urllib.request

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from deepseek.models.manifest import (
    EntitiesArchitecture,
    ImageArchitecture,
    ModelFile,
    ModelManifest,
    compute_file_sha256,
)
from deepseek.models.network import build_signature
from tests.deepseek.models.making import make_model
from tests.deepseek.models.test_onnx_file import build_onnx, write_model
from tests.deepseek.serve.conftest import Process

WITHOUT = """
import sys

class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {names!r}:
            raise ModuleNotFoundError(name, name=name)

sys.meta_path.insert(0, Blocker())
from deepseek.cli import main

sys.exit(main())
"""
HEAVY = ["torch", "torchvision", "pandas", "pandera", "pyarrow", "sklearn", "scipy", "tvm", "django", "httpx"]
COMMAND = (sys.executable, "-c", WITHOUT.format(names=set(HEAVY)))


def write_family(folder, data, architecture, **fields):
    """An ONNX model of another family than tables."""
    write_model(folder, b"")
    onnx.save(data, folder / "model.onnx")
    (folder / "heldout.safetensors").unlink()
    path = folder / "model.onnx"
    file = ModelFile(name=path.name, sha256=compute_file_sha256(path), size=path.stat().st_size)
    fields |= {"architecture": architecture, "signature": build_signature(architecture), "file": file}
    manifest = ModelManifest.read(folder / "model.json").model_copy(update=fields)
    (folder / "model.json").write_text(manifest.to_json())
    return folder


def write_images(folder):
    """The mean of each color, as shares of three classes."""
    nodes = [
        helper.make_node("GlobalAveragePool", ["x"], ["mean"]),
        helper.make_node("Flatten", ["mean"], ["flat"]),
        helper.make_node("MatMul", ["flat", "weights"], ["y"]),
    ]
    data = build_onnx(nodes, inputs=3, outputs=2, shape=("rows", 3, 32, 32))
    return write_family(folder, data, ImageArchitecture(backbone="resnet18", height=32, width=32, outputs=2))


def write_entities(folder):
    architecture = EntitiesArchitecture(labels=["P"], words=2, buckets=64, max_length=8, width=8, layers=1, heads=1)
    nodes = [
        helper.make_node("Cast", ["x"], ["numbers"], to=TensorProto.FLOAT),
        helper.make_node("MatMul", ["numbers", "weights"], ["y"]),
    ]
    data = build_onnx(nodes, inputs=10, outputs=3, kind=TensorProto.INT64, shape=("rows", "tokens", 10))
    assets = {"tokenizer": 1, "vocabulary": ["ada", "left"], "labels": ["P"], "continuation": [0.5]}
    helper.set_model_props(data, {"assets": json.dumps(assets)})
    return write_family(folder, data, architecture, task="entities")


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    write_model(folder / "table", build_onnx())
    write_images(folder / "images")
    write_entities(folder / "entities")
    make_model(folder / "trained")
    return folder


@pytest.fixture(scope="module")
def service(models):
    words = [models / "table", models / "images", models / "entities", "--record", models / "recorded"]
    service = Process(*words, script=COMMAND)
    yield service
    service.kill()


def test_every_family_answers(service, models):
    assert service.line.startswith("deepseek: serving 3 models (table, images, entities)")
    answers = {
        "table": service.ask("/predict", {"features": [1, 2, 3, 4, 5]}),
        "images": service.ask("/models/images/predict", {"features": np.full((3, 32, 32), 7).tolist()}),
        "entities": service.ask("/models/entities/predict", {"features": ["", ""]}),
    }
    assert answers == {
        "table": (200, {"prediction": [15, 15]}),
        "images": (200, {"prediction": [21, 21]}),
        "entities": (200, {"prediction": [[], []]}),
    }
    assert service.ask("/models/entities/predict", {"features": "Ada left."})[0] == 200


def test_an_image_file_is_decoded(service):
    white = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAIAAACQd1PeAAAADElEQVR4nGP4//8/AAX+Av4N70a4AAAAAElFTkSuQmCC"  # 1 x 1, PNG
    assert service.ask("/models/images/predict", {"features": white}) == (200, {"prediction": [765, 765]})


def test_the_open_protocol_metrics_and_refusals(service):
    tensor = {"name": "features", "datatype": "FP32", "shape": [1, 5], "data": [1, 2, 3, 4, 5]}
    status, document = service.ask("/v2/models/table/infer", {"inputs": [tensor]})
    assert (status, document["outputs"][0]["data"]) == (200, [15, 15])
    status, document = service.ask("/predict", {"features": [[1, 2]]})
    assert (status, document["error"]["code"]) == (422, "wrong_width")
    assert service.ask("/model")[1]["format"] == "onnx"
    with urllib.request.urlopen(service.address + "/metrics", timeout=20) as answer:
        assert b'model="table",version=' in answer.read()


def test_what_pytorch_runs_is_refused_with_a_remedy(models):
    words = [*COMMAND, "serve", str(models / "trained"), "--port", "0"]
    run = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
    assert (run.returncode, run.stdout) == (2, "")
    assert "run by PyTorch, which is not installed here" in run.stderr
    assert "deepseek export" in run.stderr
