"""Every metric against scikit-learn on whatever rows Hypothesis finds, and drawn as if rows were written twice."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics

from deepseek.evaluate.classes import assign_bins, build_class_measures
from deepseek.evaluate.ranking import build_ranking_measures
from deepseek.evaluate.values import build_value_measures

seeds = st.integers(0, 2**32 - 1)


def valued(measures, draws):
    return {one.name: one.of(np.atleast_2d(draws)) for one in measures}


def once(measures, blocks):
    return {name: float(found[0]) for name, found in valued(measures, np.ones(blocks)).items()}


def class_rows(seed, rows, classes, levels):
    random = np.random.default_rng(seed)
    target = random.integers(0, classes, rows)
    shares = np.round(random.dirichlet(np.ones(classes), rows) * levels) + 0.25  # equal scores occur
    return (shares / shares.sum(axis=1, keepdims=True)).astype(np.float32), target


@given(seeds, st.integers(12, 80), st.integers(3, 20))
def test_two_classes_as_scikit_learn_counts(seed, rows, levels):
    outputs, target = class_rows(seed, rows, 2, levels)
    target[:2] = 0, 1
    made = once(build_class_measures(outputs, target, np.arange(rows), rows, positive=1, bins=10), rows)
    guess, share = outputs.argmax(axis=1), outputs[:, 1]
    assert made["accuracy"] == pytest.approx(metrics.accuracy_score(target, guess))
    for name, function in (
        ("precision", metrics.precision_score),
        ("recall", metrics.recall_score),
        ("f1", metrics.f1_score),
    ):
        assert made[name] == pytest.approx(function(target, guess, zero_division=0))
        assert made[f"{name}_macro"] == pytest.approx(function(target, guess, average="macro", zero_division=0))
    assert made["auc"] == pytest.approx(metrics.roc_auc_score(target, share))
    assert made["brier"] == pytest.approx(metrics.brier_score_loss(target, share), rel=1e-5)
    assert made["log_loss"] == pytest.approx(metrics.log_loss(target, outputs.astype(float)), rel=1e-5)


@given(seeds, st.integers(30, 80), st.integers(3, 5))
def test_more_classes_as_scikit_learn_counts(seed, rows, classes):
    outputs, target = class_rows(seed, rows, classes, 50)
    target[:classes] = range(classes)
    made = once(build_class_measures(outputs, target, np.arange(rows), rows, positive=None, bins=10), rows)
    shares, guess = outputs.astype(float), outputs.argmax(axis=1)
    assert "precision" not in made
    assert made["f1_macro"] == pytest.approx(metrics.f1_score(target, guess, average="macro"))
    precision = metrics.precision_score(target, guess, average="macro", zero_division=0)
    assert made["precision_macro"] == pytest.approx(precision)
    areas = [metrics.roc_auc_score(target == k, shares[:, k]) for k in range(classes)]  # "ovr", as the shares stand
    assert made["auc"] == pytest.approx(np.mean(areas))
    right = np.eye(classes)[target]
    assert made["brier"] == pytest.approx(((shares - right) ** 2).sum(axis=1).mean(), rel=1e-5)


@given(seeds, st.integers(1, 60), st.integers(2, 20))
def test_the_calibration_error_is_what_guo_et_al_write(seed, rows, bins):
    outputs, target = class_rows(seed, rows, 3, 30)
    made = once(build_class_measures(outputs, target, np.arange(rows), rows, positive=None, bins=bins), rows)
    largest, hit = outputs.max(axis=1).astype(float), outputs.argmax(axis=1) == target
    wanted = 0.0
    for k in range(bins):
        rows_in = (largest > k / bins) & (largest <= (k + 1) / bins)
        if rows_in.any():
            wanted += rows_in.mean() * abs(hit[rows_in].mean() - largest[rows_in].mean())
    assert made["ece"] == pytest.approx(wanted, abs=1e-9)


def test_a_bin_holds_its_upper_edge_and_the_first_one_zero():
    assert assign_bins(np.array([0.0, 0.1, 0.1000001, 0.5, 1.0]), 10).tolist() == [0, 0, 1, 4, 9]


@given(seeds, st.integers(2, 80))
def test_values_as_scikit_learn_counts(seed, rows):
    random = np.random.default_rng(seed)
    target = random.uniform(1, 9, rows).astype(np.float32)
    outputs = (target + random.normal(size=rows))[:, None].astype(np.float32)
    made = once(build_value_measures(outputs, target, np.arange(rows), rows), rows)
    guess, wanted = outputs[:, 0].astype(float), target.astype(float)
    assert made["rmse"] == pytest.approx(metrics.root_mean_squared_error(wanted, guess))
    assert made["mae"] == pytest.approx(metrics.mean_absolute_error(wanted, guess))
    assert made["r2"] == pytest.approx(metrics.r2_score(wanted, guess), rel=1e-6, abs=1e-6)
    assert made["mape"] == pytest.approx(metrics.mean_absolute_percentage_error(wanted, guess))


@pytest.mark.parametrize("value", [0.0, -1.0])
def test_a_share_of_what_may_be_nothing_is_not_told(value):
    target = np.array([value, 1.0, 2.0], np.float32)
    assert "mape" not in once(build_value_measures(target[:, None], target, np.arange(3), 3), 3)


def test_a_constant_target_has_no_r2():
    target = np.full(5, 3.3, np.float32)
    assert np.isnan(once(build_value_measures(target[:, None] + 1, target, np.arange(5), 5), 5)["r2"])


@given(seeds, st.integers(1, 6), st.integers(1, 15))
def test_queries_as_scikit_learn_ranks(seed, queries, levels):
    random = np.random.default_rng(seed)
    sizes = random.integers(2, 12, queries)
    query = np.repeat(np.arange(queries), sizes)
    relevance = random.integers(0, 4, len(query)).astype(float)
    relevance[np.cumsum(sizes) - 1] = 2.0  # each query has a relevant row
    scores = random.integers(0, levels, len(query)) / 3.0  # equal scores occur
    order = random.permutation(len(query))
    made = once(
        build_ranking_measures(
            scores[order], relevance[order], query[order], np.arange(queries), queries, places=[3, 10]
        ),
        queries,
    )
    for place in (3, 10):
        wanted = [metrics.ndcg_score([relevance[query == q]], [scores[query == q]], k=place) for q in range(queries)]
        assert made[f"ndcg_at_{place}"] == pytest.approx(np.mean(wanted))


@given(seeds, st.integers(1, 6))
def test_average_precision_and_reciprocal_rank(seed, queries):
    random = np.random.default_rng(seed)
    query = np.repeat(np.arange(queries), 8)
    hits = random.random(len(query)) < 0.4
    hits[::8] = True
    scores = random.permutation(len(query)).astype(float)  # no two are equal
    made = once(
        build_ranking_measures(scores, hits.astype(float), query, np.arange(queries), queries, places=[5]), queries
    )
    of_each = [(hits[query == q], scores[query == q]) for q in range(queries)]
    assert made["map"] == pytest.approx(np.mean([metrics.average_precision_score(h, s) for h, s in of_each]))
    ranks = [1 + np.flatnonzero(h[np.argsort(-s)])[0] for h, s in of_each]
    assert made["mrr"] == pytest.approx(np.mean([1 / rank for rank in ranks]))


def test_equal_scores_earn_a_ranking_nothing():
    made = once(
        build_ranking_measures(np.zeros(4), np.array([1.0, 0, 0, 0]), np.zeros(4, int), np.arange(1), 1, places=[1]), 1
    )
    assert made == {"ndcg_at_1": 0.25, "map": 0.25, "mrr": 0.25}


def test_a_query_without_a_relevant_row_does_not_count():
    relevance, query = np.array([1.0, 0, 0, 0]), np.array([0, 0, 1, 1])
    made = once(build_ranking_measures(np.array([2.0, 1, 2, 1]), relevance, query, np.arange(2), 2, places=[1]), 2)
    assert made == {"ndcg_at_1": 1.0, "map": 1.0, "mrr": 1.0}


# -- rows that are drawn more than once -----------------------------------------------------------------------------
@given(seeds, st.integers(10, 40), st.sampled_from([2, 3]))
def test_a_row_drawn_twice_counts_as_two_equal_rows(seed, rows, classes):
    random = np.random.default_rng(seed)
    outputs, target = class_rows(seed, rows, classes, 9)
    times = random.integers(0, 3, rows)
    positive = 1 if classes == 2 else None
    drawn = valued(build_class_measures(outputs, target, np.arange(rows), rows, positive=positive, bins=7), times)
    again = np.repeat(np.arange(rows), times)
    if not len(again):
        return
    written = once(
        build_class_measures(
            outputs[again], target[again], np.arange(len(again)), len(again), positive=positive, bins=7
        ),
        len(again),
    )
    assert {name: float(found[0]) for name, found in drawn.items()} == pytest.approx(written, nan_ok=True)


@given(seeds, st.integers(3, 40))
def test_a_number_drawn_twice_counts_as_two_equal_rows(seed, rows):
    random = np.random.default_rng(seed)
    target, times = random.normal(50, 9, rows).astype(np.float32), random.integers(1, 4, rows)
    outputs = (target + random.normal(size=rows))[:, None].astype(np.float32)
    drawn = valued(build_value_measures(outputs, target, np.arange(rows), rows), times)
    again = np.repeat(np.arange(rows), times)
    written = once(build_value_measures(outputs[again], target[again], np.arange(len(again)), len(again)), len(again))
    assert {name: float(found[0]) for name, found in drawn.items()} == pytest.approx(written, rel=1e-6)
