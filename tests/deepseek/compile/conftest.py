"""A trained model's folder, one compiled from it, and a call to compile. Without a C compiler there is no test."""

import shutil

import pytest

from deepseek.compile.compiler import find_compiler
from deepseek.compile.run import run
from deepseek.compile.spec import CompileSpec
from deepseek.job import EngineError, Silent
from deepseek.models.folder import find_model_inputs
from tests.deepseek.conftest import Recorder
from tests.deepseek.models.making import make_model


@pytest.fixture(scope="session")
def compiler():
    try:
        return find_compiler()
    except EngineError as error:
        pytest.skip(error.message)


@pytest.fixture
def model(tmp_path):
    """A forecaster of 5 inputs."""
    make_model(tmp_path / "model")
    return tmp_path / "model"


@pytest.fixture
def compiled(tmp_path, compiler):
    """Compile quickly: `compiled(folder, out="out", inputs={...}, trials=...)`."""

    def call(folder, out="out", report=None, inputs=None, **fields):
        return compile_to(tmp_path / out, folder, report or Silent(), inputs, **fields)

    return call


def compile_to(out, folder, report, inputs=None, **fields):
    spec = CompileSpec(**({"runs": 10, "trials": 0} | fields))
    return run(spec, inputs=find_model_inputs(folder) | (inputs or {}), out=out, report=report)


class Library:
    """A classifier compiled for batches of 3, with 3 trials: its folders, what the run gave, and what it reported."""

    def __init__(self, folder):
        self.model, self.out, self.report = folder / "model", folder / "out", Recorder()
        make_model(self.model, task="classification")
        self.result = compile_to(self.out, self.model, self.report, batch=3, trials=3)


@pytest.fixture(scope="module")
def made(tmp_path_factory, compiler):
    return Library(tmp_path_factory.mktemp("library"))


@pytest.fixture
def copied(made, tmp_path):
    """A copy of the compiled folder, to spoil."""
    return shutil.copytree(made.out, tmp_path / "copy")
