"""Permutation importance: what matters comes first, within bounds, and no drop depends on other columns."""

import numpy as np
import pytest

from deepseek.diagnostics import importance as module
from deepseek.diagnostics.importance import compute_importance

DRAW = np.random.default_rng(0)
FEATURES = DRAW.normal(size=(300, 4)).astype(np.float32)
TARGET = (3 * FEATURES[:, 1] + FEATURES[:, 3]).astype(np.float32)


def predict(features):
    return (3 * features[:, 1] + features[:, 3])[:, None].astype(np.float32)


def measure(features=FEATURES, names="abcd", parameters=4, **more):
    facts = {"seed": 0, "parameters": parameters} | more
    return compute_importance("regression", predict, features, TARGET, list(names), **facts)


def test_what_matters_comes_first():
    before = FEATURES.copy()
    made = measure()
    assert [feature.name for feature in made.features] == ["b", "d", "a", "c"]
    assert (made.metric, made.value, made.rows, made.repeats) == ("rmse", 0, 300, 5)
    first, _second, third, _fourth = made.features
    assert first.drop == pytest.approx(3 * 2**0.5, rel=0.15)
    assert first.low < first.drop < first.high
    assert (third.drop, third.low, third.high) == (0, 0, 0)
    assert np.array_equal(FEATURES, before)


def test_equal_seeds_give_equal_drops():
    assert measure() == measure()
    assert measure() != measure(seed=1)


def test_of_many_columns_those_that_matter_are_measured():
    wide = np.concatenate([FEATURES, DRAW.normal(size=(300, 80)).astype(np.float32)], axis=1)
    made = measure(wide, [f"f{k}" for k in range(84)])
    assert [feature.name for feature in made.features[:2]] == ["f1", "f3"]
    assert (len(made.features), made.left_out) == (50, 34)
    assert made.features[0] == measure(wide[:, :4], [f"f{k}" for k in range(4)]).features[0]


def test_a_large_network_takes_fewer_rows_or_none(monkeypatch):
    monkeypatch.setattr(module, "MOST_WORK", 4e5)
    assert measure(parameters=100).rows == 100
    assert measure(parameters=10_000) is None


def test_classes_by_accuracy():
    labels = (FEATURES[:, 0] > 0).astype(np.int64)

    def predict_shares(features):
        return np.stack([features[:, 0] <= 0, features[:, 0] > 0], axis=1).astype(np.float32)

    made = compute_importance("classification", predict_shares, FEATURES, labels, "abcd", seed=0, parameters=1)
    assert (made.metric, made.value, made.features[0].name) == ("accuracy", 1, "a")
    assert made.features[0].drop == pytest.approx(0.5, abs=0.1)
