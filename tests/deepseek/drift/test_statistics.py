"""Statistics of counts, against scipy and values that follow from their definitions."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from deepseek.drift.corrections import correct_p_values
from deepseek.drift.statistics import (
    compare_shares,
    compute_bridge_tail,
    compute_chi_square,
    compute_ks,
    compute_psi,
    compute_wasserstein,
)


def draw(seed=5):
    random = np.random.default_rng(seed)
    return random.integers(0, 40, 3_000), random.integers(0, 42, 2_000)


def count(values, size=42):
    return np.bincount(values, minlength=size)


def test_ks_and_wasserstein_are_those_of_the_rows():
    first, second = draw()
    edges = np.arange(41) + 0.0
    distance, _ = compute_ks(count(first), count(second))
    assert distance == pytest.approx(stats.ks_2samp(first, second).statistic)
    # Each bin (k - 1, k] spread evenly is the value k less a uniform part: equal, but where the functions cross.
    area = compute_wasserstein(edges, count(first), count(second), -1.0, 41.0)
    assert area == pytest.approx(stats.wasserstein_distance(first, second), rel=0.01)


def test_chi_square_is_that_of_the_table():
    first, second = (count(values) for values in draw())
    kept = first + second > 100  # none is joined with another
    statistic, p, freedom = compute_chi_square(first[kept], second[kept])
    expected = stats.chi2_contingency(np.array([first[kept], second[kept]]), correction=False)
    assert (statistic, p, freedom) == pytest.approx((expected.statistic, expected.pvalue, expected.dof))


def test_psi_by_hand():
    psi, p, bins = compute_psi(np.array([500, 500]), np.array([250, 750]))
    expected = 0.25 * math.log(2) + 0.25 * math.log(1.5)
    assert (psi, bins) == (pytest.approx(expected), 2)
    assert p == pytest.approx(stats.chi2.sf(expected / (1 / 1000 + 1 / 1000), 1))


def test_the_tail_of_a_bridge():
    half = math.sqrt(0.25)
    assert compute_bridge_tail(np.array([0.5]), 1.0) == pytest.approx(2 * stats.norm.sf(1.0 / half)), "one edge"
    pair = stats.multivariate_normal([0, 0], [[0.21, 0.09], [0.09, 0.21]])
    inside = pair.cdf([0.7, 0.7], lower_limit=[-0.7, -0.7])
    assert compute_bridge_tail(np.array([0.3, 0.7]), 0.7) == pytest.approx(1 - inside, abs=1e-4), "two"
    siegmund = 2 * math.exp(-2 * (1.358 + 0.5826 / 8) ** 2)
    many = compute_bridge_tail(np.arange(1, 64) / 64, 1.358)
    assert many == pytest.approx(siegmund, abs=2e-4), "as the correction for 64 steps says, and at every time 0.05"
    assert 0 < compute_bridge_tail(np.arange(1, 64) / 64, 3.0) < 2 * math.exp(-18), "a bound"


def test_shares_by_fisher():
    table = [[12, 988], [3, 997]]
    observed = stats.hypergeom(2_000, 15, 1_000).pmf(12)
    expected = stats.fisher_exact(table, alternative="greater").pvalue - observed / 2  # the mid-p
    assert compare_shares(3, 1000, 12, 1000, one_sided=True) == pytest.approx(expected)
    many = compare_shares(30_000, 100_000, 30_500, 100_000)
    assert many == pytest.approx(2 * stats.norm.sf(500 / math.sqrt(0.3025 * 0.6975 * 2 * 100_000)), rel=1e-3)
    assert compare_shares(0, 10, 0, 10) == 1.0


def test_few_cases_are_called_different_about_as_often_as_stated():
    random = np.random.default_rng(2)
    first, second = random.binomial(5_000, 0.01, 800), random.binomial(1_000, 0.01, 800)
    alarms = sum(compare_shares(int(a), 5_000, int(b), 1_000) <= 0.05 for a, b in zip(first, second, strict=True))
    assert 0.03 < alarms / 800 < 0.08


def test_corrections():
    p_values = [0.01, 0.04, 0.03, 0.005]
    assert correct_p_values(p_values, "holm") == pytest.approx([0.03, 0.06, 0.06, 0.02])
    expected = stats.false_discovery_control(p_values)
    assert correct_p_values(p_values, "benjamini_hochberg") == pytest.approx(list(expected))
    assert correct_p_values([], "holm") == []


@pytest.mark.parametrize("case", [([], []), ([0, 0], [3, 4]), ([7, 0], [9, 0]), ([5], [5])])
def test_what_has_no_statistic_raises_nothing(case):
    first, second = (np.array(counts, dtype=np.int64) for counts in case)
    for compute in (compute_ks, compute_chi_square, compute_psi):
        assert len(compute(first, second)) >= 2
    assert compute_wasserstein(np.array([1.0]), first, second, math.inf, -math.inf) is None
