"""Small tables to train on, and one call to do it."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from deepseek.job import Silent
from deepseek.train.run import run
from deepseek.train.spec import TrainSpec

SCHEDULE = {"max_lr": 0.01, "warmup_steps": 5, "first_batch": 8, "last_batch": 16}
QUICK = {"hidden": [8], "epochs": 4, "schedule": SCHEDULE, "reference": False}


@pytest.fixture
def table(tmp_path):
    """Write columns as Parquet and return the path."""

    def write(name="table", **columns):
        path = tmp_path / name
        pq.write_table(pa.table(columns), path)
        return path

    return write


def draw_flowers():
    """Two classes that two columns tell apart, in 120 rows."""
    draw = np.random.default_rng(0)
    x = draw.normal(size=(120, 2))
    kind = np.where(x[:, 0] + 0.5 * x[:, 1] > 0, "rose", "daisy")
    return {"length": x[:, 0], "width": 100 + 5 * x[:, 1], "kind": kind.tolist()}


@pytest.fixture
def flowers(table):
    return table("flowers", **draw_flowers())


@pytest.fixture
def waves(table):
    """A series with a period of 12 rows, in 200 rows."""
    draw = np.random.default_rng(1)
    return table("waves", height=50 + 10 * np.sin(np.arange(200) * 2 * np.pi / 12) + draw.normal(0, 0.3, 200))


@pytest.fixture
def train(tmp_path):
    """Train quickly: `train(path, task=..., target=..., out="out")`."""

    return lambda path, out="out", *words, **fields: train_to(tmp_path / out, path, *words, **fields)


def train_to(out, path, report=None, inputs=None, **fields):
    spec = TrainSpec(**(QUICK | fields))
    return run(spec, inputs={"table": path} | (inputs or {}), out=out, report=report or Silent())
