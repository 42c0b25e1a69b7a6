"""How much each class counts in the loss: the same in steps and in validation."""

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from deepseek.job import EngineError, Silent
from deepseek.models.predictor import load_predictor
from deepseek.train.run import _prepare
from deepseek.train.spec import TrainSpec
from tests.deepseek.train.conftest import QUICK

FLOWERS = {"task": "classification", "target": "kind"}


@pytest.fixture
def flowers(table):
    """30 roses among 150 daisies, which overlap."""
    draw = np.random.default_rng(0)
    length = np.concatenate([draw.normal(1, 1, 30), draw.normal(0, 1, 150)])
    return table("flowers", length=length, kind=["rose"] * 30 + ["daisy"] * 150)


def prepare(path, **fields):
    return _prepare(TrainSpec(**{**QUICK, **FLOWERS, **fields}), {"table": path}, Silent()).learner


def test_balanced_weights_sum_to_the_rows(flowers):
    learner = prepare(flowers, class_weights="balanced")
    rows = learner.parts.training
    counts = np.bincount(learner._codes[rows])
    np.testing.assert_allclose(learner.class_weights * counts, len(rows) / 2)
    assert learner.count_terms(rows) == pytest.approx(len(rows))


def test_a_sum_divided_by_its_terms_is_the_mean(flowers):
    learner = prepare(flowers, weights=[{"name": "rose", "weight": 3}])
    learner.move(torch.device("cpu"))
    rows = learner.parts.training[::2]

    def compute(reduction):
        return learner.compute_loss(learner.network.compute_logits, rows, reduction).item()

    assert learner.class_weights.tolist() == [1, 3]
    assert compute("sum") / learner.count_terms(rows) == pytest.approx(compute("mean"))
    assert learner.count_terms(rows) != len(rows)


def test_rare_classes_are_found(train, flowers, tmp_path):
    def count_roses(name, **fields):
        train(flowers, name, **FLOWERS, epochs=15, **fields)
        outputs = load_predictor(tmp_path / name).predict(np.linspace(-2, 3, 100, dtype=np.float32)[:, None])
        return int(outputs.argmax(axis=1).sum())

    plain = count_roses("plain")
    assert count_roses("balanced", class_weights="balanced", micro_batch=4) > plain
    assert count_roses("given", weights=[{"name": "rose", "weight": 5}]) > plain


def test_a_class_that_is_none(train, flowers):
    with pytest.raises(EngineError) as caught:
        train(flowers, **FLOWERS, weights=[{"name": "tulip", "weight": 2}])
    assert (caught.value.code, caught.value.field) == ("weight_class_unknown", "/weights/0/name")


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"task": "regression", "class_weights": "balanced"}, "weights_without_classes"),
        ({"task": "forecast", "weights": [{"name": "a", "weight": 2}]}, "weights_without_classes"),
        ({"weights": [{"name": "a", "weight": 2}, {"name": "a", "weight": 3}]}, "repeated"),
        ({"weights": [{"name": "a", "weight": 0}]}, "greater_than"),
    ],
)
def test_the_spec(fields, code):
    with pytest.raises(ValidationError) as caught:
        TrainSpec(**{**FLOWERS, **fields})
    assert code in {error["type"] for error in caught.value.errors()}
