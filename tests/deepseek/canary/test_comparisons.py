"""The comparison of two arms, beside scipy's tests and by brute force."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from scipy.optimize import minimize_scalar

from deepseek.canary.comparisons import (
    Arms,
    compare_means,
    compute_exact_z,
    compute_limit_z,
    compute_margin_z,
    compute_mean_bound,
    compute_pearson_tail,
    compute_permutation_z,
    compute_score_bound,
    compute_score_z,
    compute_share_bound,
    constrain_shares,
)


def build_arms(*strata) -> Arms:
    """Of (canary values, control values) for each stratum."""
    rows = []
    for canary, control in strata:
        first, second = np.asarray(canary, float), np.asarray(control, float)
        means = [values.mean() if len(values) else np.nan for values in (first, second)]
        deviations = [values - mean for values, mean in zip((first, second), means, strict=True)]
        moments = [(each**power).sum() for power in (2, 3) for each in deviations]
        rows.append([len(first), len(second), *means, *moments])
    return Arms(*np.array(rows, float).T)


def count(failures: int, devices: int) -> list[int]:
    return [1] * failures + [0] * (devices - failures)


def test_one_stratum_is_welch_test():
    random = np.random.default_rng(3)
    canary, control = random.normal(1, 3, 12), random.normal(0, 1, 90)
    expected = stats.ttest_ind(canary, control, equal_var=False, alternative="greater").pvalue
    assert stats.norm.sf(compare_means(build_arms((canary, control))).compute_z(0.0)) == pytest.approx(expected)


def test_non_inferiority_takes_the_most_cautious_of_three_tests():
    random = np.random.default_rng(9)
    for spread in (0.2, 1.0, 3.0):
        arms = build_arms((random.lognormal(0, spread, 20), random.lognormal(0, 1, 180)))
        found = compute_margin_z(arms, 2.0, has_one_sign=True)
        shifted = compute_margin_z(arms, 2.0, has_one_sign=False)
        assert found <= shifted <= -compare_means(arms).compute_z(2.0)
        assert shifted <= -compute_permutation_z(arms, 2.0)
    assert np.isnan(compute_margin_z(build_arms(([1, 1], [1, 1])), 2.0, has_one_sign=True))


def test_figures_stretched_by_the_margin_are_seldom_non_inferior():
    """Latencies a third higher, where a third is the margin; of 200 samples few pass at 5 %."""
    random, passed = np.random.default_rng(10), 0
    for _ in range(200):
        arms = build_arms((4 / 3 * random.lognormal(0, 0.75, 40), random.lognormal(0, 0.75, 360)))
        margin = np.exp(0.75**2 / 2) / 3
        passed += compute_margin_z(arms, margin, has_one_sign=True) > 1.645
    assert passed <= stats.binom.isf(1e-4, 200, 0.05)


@pytest.mark.parametrize(("strata", "skew"), [(1, 1.0), (2, 1.0), (1, 0.3)])
def test_permutations_are_those_that_chance_draws(strata, skew):
    """Beside 20,000 draws of 12 canaries among 60 skewed figures, of which the canaries have rather high ones."""
    random = np.random.default_rng(8)
    groups, size = [random.lognormal(3 * number, skew, 60 // strata) for number in range(strata)], 12 // strata
    places = slice(-size - 8 // strata, -8 // strata)
    arms = build_arms(*((np.sort(values)[places], np.delete(np.sort(values), places)) for values in groups))
    draws = np.zeros(20_000)
    for values, weight in zip(groups, arms.weights, strict=True):
        drawn = random.permuted(np.tile(values, (20_000, 1)), axis=1)
        draws += weight * (drawn[:, :size].mean(1) - drawn[:, size:].mean(1))
    p = stats.norm.sf(compute_permutation_z(arms, 0.0))
    assert p == pytest.approx((draws >= arms.difference).mean(), rel=0.2, abs=0.002)


def test_strata_of_different_levels_do_not_confound():
    """Where canaries stand in the slow stratum only more often, a crude comparison would find harm."""
    random = np.random.default_rng(4)
    slow, fast = random.normal(100, 1, (2, 40)), random.normal(10, 1, (2, 40))
    arms = build_arms((slow[0], slow[1][:10]), (fast[0][:10], fast[1]))
    difference = compare_means(arms)
    assert abs(difference.estimate) < 1
    assert abs(compute_permutation_z(arms, 0.0)) < 3


def test_a_stratum_with_one_arm_counts_for_nothing():
    random = np.random.default_rng(5)
    canary, control = random.normal(0, 1, (2, 30))
    alone = build_arms((canary, control))
    beside = build_arms((canary, control), ([5000, 6000], []), ([], [1, 2, 3]))
    assert compare_means(beside).compute_z(1.0) == pytest.approx(float(compare_means(alone).compute_z(1.0)))
    assert compute_permutation_z(beside, 0.0) == pytest.approx(float(compute_permutation_z(alone, 0.0)))


def test_an_arm_without_variance_gets_that_of_the_other():
    difference = compare_means(build_arms(([3, 3, 3], [1, 2, 3, 4, 5])))
    assert difference.error == pytest.approx(np.sqrt(2.5 / 3 + 2.5 / 5))


def test_tails_of_pearson_type_three_are_scipys():
    values, skewness = np.meshgrid([-3.0, -0.5, 0.0, 1.0, 4.0], [-2.0, -0.3, 0.0, 0.01, 0.5, 3.0])
    assert compute_pearson_tail(values, skewness) == pytest.approx(stats.pearson3.sf(values, skewness), abs=1e-9)


def test_equal_values_have_no_statistic_but_that_of_permutations():
    arms = build_arms(([2, 2, 2, 2], [1] * 36))
    assert np.isnan(compare_means(arms).compute_z(1.0))
    assert compute_permutation_z(arms, 0.0) > 3
    assert compute_permutation_z(arms, 1.0) == 0
    assert compute_mean_bound(arms, 2.0, upper=False) is None


def test_failures_in_one_stratum_are_fishers_test():
    cells = [(0, 10, 0, 90), (1, 10, 0, 90), (3, 30, 5, 270), (4, 4, 0, 36)]
    wrong = {}
    for first, canary, second, control in cells:
        table = [[first, canary - first], [second, control - second]]
        expected = stats.fisher_exact(table, alternative="greater").pvalue
        p = stats.norm.sf(compute_exact_z(build_arms((count(first, canary), count(second, control)))))
        if p != pytest.approx(expected, abs=1e-9):
            wrong[first, canary, second, control] = (p, expected)
    assert wrong == {}


def test_failures_over_strata_are_all_ways_to_place_them():
    arms = build_arms((count(2, 3), count(1, 5)), (count(1, 2), count(1, 4)))
    chance = sum(
        stats.hypergeom.pmf(x, 8, 3, 3) * stats.hypergeom.pmf(y, 6, 2, 2)
        for x in range(4)
        for y in range(3)
        if x + y >= 3
    )
    assert stats.norm.sf(compute_exact_z(arms)) == pytest.approx(chance)


def test_so_many_failures_that_the_score_test_serves_agree_with_it():
    arms = build_arms((count(1200, 2000), count(1100, 2000)), (count(700, 900), count(600, 900)))
    assert compute_exact_z(arms) == compute_score_z(arms, 0.0)


def test_constrained_shares_are_the_likeliest():
    random = np.random.default_rng(6)
    worst = 0.0
    for _ in range(60):
        canary, control = random.integers(2, 40), random.integers(2, 300)
        first, second = random.integers(0, canary + 1), random.integers(0, control + 1)
        shift = random.uniform(-0.9, 0.9)

        def lose(p, x=first, n=canary, y=second, m=control, shift=shift):
            return -stats.binom.logpmf(x, n, p) - stats.binom.logpmf(y, m, p - shift)

        bounds = (max(0, shift) + 1e-12, min(1, 1 + shift) - 1e-12)
        likeliest = minimize_scalar(lose, bounds=bounds, method="bounded", options={"xatol": 1e-10}).x
        found, other = constrain_shares(first / canary, second / control, control / canary, shift)
        worst = max(worst, abs(found - likeliest), abs(found - other - shift))
    assert worst < 1e-5


def test_score_test_without_shift_is_that_of_mantel_and_haenszel():
    """With the factor N / (N - 1), the variance is that of Cochran, Mantel and Haenszel."""
    arms = build_arms((count(4, 15), count(10, 135)), (count(3, 15), count(12, 135)))
    total, canary, events = np.array([150, 150]), np.array([15, 15]), np.array([14, 15])
    variance = canary * (total - canary) * events * (total - events) / (total**2 * (total - 1))
    expected = (7 - np.sum(canary * events / total)) / np.sqrt(variance.sum())
    assert compute_score_z(arms, 0.0) == pytest.approx(expected)


def test_no_failures_among_few_devices_prove_no_margin():
    assert -compute_score_z(build_arms((count(0, 4), count(0, 36))), 0.05) < 0.6
    assert -compute_score_z(build_arms((count(0, 400), count(0, 3600))), 0.05) > 4


def test_bounds_are_where_the_tests_stand_at_their_critical_value():
    arms = build_arms((count(4, 15), count(10, 135)), (count(3, 15), count(12, 135)))
    for critical, upper in ((1.96, True), (2.5, False)):
        bound = compute_score_bound(arms, critical, upper=upper)
        assert abs(compute_score_z(arms, bound)) == pytest.approx(critical, abs=1e-5)
    figures = build_arms(([3, 2, 3, 5, 9], [1, 2, 2, 3, 4, 3, 2]), ([1, 2, 7], [3, 2, 1]))
    low = compute_mean_bound(figures, 1.5, upper=False)
    assert compute_permutation_z(figures, low) == pytest.approx(1.5, abs=1e-5)
    for has_one_sign in (True, False):
        high = compute_mean_bound(figures, 1.5, upper=True, has_one_sign=has_one_sign)
        assert compute_margin_z(figures, high, has_one_sign=has_one_sign) == pytest.approx(1.5, abs=1e-5)
    assert compute_mean_bound(figures, np.inf, upper=True) is None
    assert compute_score_bound(arms, np.inf, upper=True) is None


def test_a_share_beside_a_limit_is_binomial():
    assert stats.norm.sf(compute_limit_z(3, 20, 0.05, above=True)) == pytest.approx(stats.binom.sf(2, 20, 0.05))
    assert stats.norm.sf(compute_limit_z(0, 100, 0.05, above=False)) == pytest.approx(0.95**100)


def test_rule_of_three():
    assert compute_share_bound(0, 300, 0.05, upper=True) == pytest.approx(0.01, rel=0.01)
    assert compute_share_bound(4, 4, 0.05, upper=True) == 1
    assert compute_share_bound(0, 4, 0.05, upper=False) == 0
    exact = stats.binomtest(7, 50).proportion_ci(0.9, "exact")
    assert compute_share_bound(7, 50, 0.05, upper=False) == pytest.approx(exact.low)
    assert compute_share_bound(7, 50, 0.05, upper=True) == pytest.approx(exact.high)
