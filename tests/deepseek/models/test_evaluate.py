"""Metrics against scikit-learn, intervals against what they promise."""

import numpy as np
import pytest
from sklearn import metrics

from deepseek.job import EngineError
from deepseek.models import evaluate
from deepseek.models.evaluate import build_share_metric, compare_classes, measure, measure_difference


def classes(rows=300, count=4):
    rng = np.random.default_rng(0)
    target = rng.integers(0, count, rows)
    outputs = rng.dirichlet(np.ones(count), rows).astype(np.float32)
    outputs[np.arange(rows), target] += 0.3
    return outputs / outputs.sum(axis=1, keepdims=True), target


def values(rows=300):
    rng = np.random.default_rng(1)
    target = rng.normal(100, 3, rows).astype(np.float32)
    return (target + rng.normal(0, 1, rows))[:, None].astype(np.float32), target


def by_name(made):
    return {metric.name: metric for metric in made}


def test_classification_as_scikit_learn_counts():
    outputs, target = classes()
    made = by_name(measure("classification", outputs, target))
    guess = outputs.argmax(axis=1)
    assert made["accuracy"].value == metrics.accuracy_score(target, guess)
    assert made["f1_macro"].value == pytest.approx(metrics.f1_score(target, guess, average="macro"))
    assert made["log_loss"].value == pytest.approx(metrics.log_loss(target, outputs), rel=1e-6)


@pytest.mark.parametrize("task", ["regression", "forecast"])
def test_values_as_scikit_learn_counts(task):
    outputs, target = values()
    made = by_name(measure(task, outputs, target))
    assert made["rmse"].value == pytest.approx(metrics.root_mean_squared_error(target, outputs[:, 0]))
    assert made["mae"].value == pytest.approx(metrics.mean_absolute_error(target, outputs[:, 0]))
    assert made["r2"].value == pytest.approx(metrics.r2_score(target, outputs[:, 0]), abs=1e-6)


@pytest.mark.parametrize("task", ["classification", "regression", "forecast"])
def test_intervals_hold_their_value_and_repeat(task):
    outputs, target = classes() if task == "classification" else values()
    made = measure(task, outputs, target, seed=3)
    assert made == measure(task, outputs, target, seed=3)
    assert all(m.low < m.value < m.high for m in made)
    narrow = measure(task, outputs, target, confidence=0.5, seed=3)
    assert all(wide.low < m.low and m.high < wide.high for wide, m in zip(made, narrow, strict=True))


def test_the_bootstrap_covers_the_true_error():
    covered = 0
    for seed in range(200):
        error = np.random.default_rng(seed).normal(0, 2, 200).astype(np.float32)
        rmse = by_name(measure("regression", error[:, None], np.zeros(200, np.float32), seed=seed))["rmse"]
        covered += rmse.low < 2 < rmse.high
    assert covered >= 180  # 190 are promised


def test_blocks_widen_the_interval_of_errors_that_hang_together():
    rng = np.random.default_rng(2)
    error = np.repeat(rng.normal(size=100), 20).astype(np.float32)[:, None]
    target = rng.normal(size=2000).astype(np.float32)
    alone = by_name(measure("regression", error + target[:, None], target))["mae"]
    together = by_name(measure("forecast", error + target[:, None], target))["mae"]
    assert together.high - together.low > 2 * (alone.high - alone.low)


def test_the_interval_of_a_far_horizon_covers_no_difference():
    """Two forecasts of a random walk, 20 rows ahead, that are wrong by the same amount: neither is better."""
    covered = 0
    for seed in range(100):
        steps = np.random.default_rng(seed).normal(size=519)
        target = np.convolve(steps, np.ones(20), "valid").astype(np.float32)
        above, below = np.ones((500, 1), np.float32), -np.ones((500, 1), np.float32)
        rmse = by_name(measure_difference("forecast", above, below, target, seed=seed, horizon=20))["rmse"]
        covered += rmse.low < 0 < rmse.high
    assert covered >= 85  # 95 are promised; blocks of n ** (1/3) rows gave 69


def test_a_far_horizon_of_few_rows_leaves_something_to_draw():
    outputs, target = values(rows=20)
    rmse = by_name(measure("forecast", outputs, target, horizon=4096))["rmse"]
    assert rmse.low < rmse.value < rmse.high


def test_wilson_at_the_edges():
    none, every, half = (build_share_metric("x", hits, 20, 0.95, "higher") for hits in (0, 20, 10))
    assert (none.low, every.high) == (0, 1)
    assert none.high == pytest.approx(0.1611, abs=1e-4)
    assert (half.low, half.high) == pytest.approx((0.2993, 0.7007), abs=1e-4)


def test_a_pair_is_told_apart_where_single_intervals_overlap():
    outputs, target = values()
    better = outputs * 0.97 + target[:, None] * 0.03
    one, two = by_name(measure("regression", outputs, target)), by_name(measure("regression", better, target))
    assert two["rmse"].high > one["rmse"].low
    paired = by_name(measure_difference("regression", better, outputs, target))
    assert paired["rmse"].high < 0 < paired["r2"].low
    assert paired["rmse"].value == pytest.approx(two["rmse"].value - one["rmse"].value)
    assert paired["rmse"].method == "paired bootstrap"


def test_equal_models_do_not_differ():
    outputs, target = classes()
    assert all(m.low == m.value == m.high == 0 for m in measure_difference("classification", outputs, outputs, target))
    assert compare_classes(outputs, outputs).value == 1


def test_a_constant_target_has_no_r2():
    made = by_name(measure("regression", np.ones((3, 1), np.float32), np.full(3, 0.1, np.float32)))
    assert set(made) == {"rmse", "mae"}


def test_one_row():
    outputs, target = classes(rows=1)
    assert len(measure("classification", outputs, target)) == 3


def test_many_rows_share_blocks(monkeypatch):
    outputs, target = values(rows=5000)
    monkeypatch.setattr(evaluate, "MOST_BLOCKS", 50)
    few = by_name(measure("regression", outputs, target))["rmse"]
    assert few.high - few.low == pytest.approx(2 * 1.96 / np.sqrt(2 * 5000), rel=0.35)


def test_infinite_outputs_are_refused():
    outputs, target = values()
    outputs[7] = np.inf
    with pytest.raises(EngineError) as caught:
        measure("regression", outputs, target)
    assert (caught.value.code, caught.value.value) == ("outputs_not_finite", "row 7")
