"""A trained model's folder, and one call to quantize it."""

import pytest

from deepseek.job import Silent
from deepseek.models.folder import find_model_inputs
from deepseek.quantize.run import run
from deepseek.quantize.spec import QuantizeSpec
from tests.deepseek.models.making import make_model


@pytest.fixture
def model(tmp_path):
    """A forecaster of 5 inputs."""
    make_model(tmp_path / "model")
    return tmp_path / "model"


@pytest.fixture
def quantize(tmp_path):
    """Quantize quickly: `quantize(folder, out="out", inputs={...}, runs=...)`."""

    def call(folder, out="out", report=None, inputs=None, **fields):
        spec = QuantizeSpec(**({"runs": 10, "batches": [1]} | fields))
        given = find_model_inputs(folder) | (inputs or {})
        return run(spec, inputs=given, out=tmp_path / out, report=report or Silent())

    return call
