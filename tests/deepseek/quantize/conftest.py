"""Folders of trained models, one call to quantize them, and one quantization of each family in all its forms."""

import json
from functools import cache

import numpy as np
import pytest

from deepseek.job import Silent
from deepseek.models.folder import find_model_inputs
from deepseek.models.heldout import Heldout, write_heldout
from deepseek.models.manifest import ModelManifest
from deepseek.quantize.document import Tradeoff
from deepseek.quantize.run import run
from deepseek.quantize.spec import QuantizeSpec
from tests.deepseek.export.conftest import make_family, shorten_resnet
from tests.deepseek.models.making import make_model

QUICK = {"runs": 10, "batches": [1], "sensitivity_layers": 0}
TORCH = {"candidates": ["int8"]}  # without ONNX, whose export takes seconds


@pytest.fixture
def model(tmp_path):
    """A forecaster of 5 inputs."""
    make_model(tmp_path / "model")
    return tmp_path / "model"


@pytest.fixture
def quantize(tmp_path):
    """Quantize quickly, by torch alone: `quantize(folder, out="out", inputs={...}, runs=...)`."""

    def call(folder, out="out", report=None, inputs=None, **fields):
        return quantize_to(tmp_path / out, folder, report, inputs, **TORCH | fields)

    return call


def quantize_to(out, folder, report=None, inputs=None, **fields):
    given = find_model_inputs(folder) | (inputs or {})
    return run(QuantizeSpec(**QUICK | fields), inputs=given, out=out, report=report or Silent())


def find_form(out, name):
    """The folder of a form: the top one where it is recommended."""
    return out if ModelManifest.read(out / "model.json").variant == name else out / name


def fill_heldout(folder, family):
    """Rows that a model of the family can be measured on."""
    draw = np.random.default_rng(0)
    if family == "entities":
        words = [" ".join(f"word{n}" for n in draw.integers(0, 40, 2 + place)) for place in range(8)]
        texts = [{"text": f"word1 {more}.", "spans": [{"start": 0, "end": 5, "label": "PER"}]} for more in words]
        (folder / "heldout.jsonl").write_text("".join(f"{json.dumps(text)}\n" for text in texts))
        return
    features = draw.integers(0, 256, (20, 3, 32, 32)).astype(np.uint8)
    if family == "mlp":
        features = draw.normal(size=(20, 3)).astype(np.float32)
        features[:, 2] = draw.integers(0, 3, 20)  # codes of a category
    write_heldout(Heldout(features, np.arange(20) % 2), folder / "heldout.safetensors")


@pytest.fixture(scope="session")
def quantize_family(tmp_path_factory):
    """`quantize_family("image")`: the document of its trade-off, the folder of its outputs, which no test changes, and
    the result; made once."""

    @cache
    def call(family):
        folder = tmp_path_factory.mktemp(family)
        with pytest.MonkeyPatch.context() as patch:
            shorten_resnet(patch)
            model, out = make_family(folder / "model", family), folder / "out"
            fill_heldout(model, family)
            batches, layers = ([1], 1) if family == "image" else ([1, 4], 3)
            result = quantize_to(out, model, batches=batches, sensitivity_layers=layers, sensitivity_rows=12)
        return Tradeoff.read(out / "tradeoff.json"), out, result

    return call
