"""E-processes: a mean of at most 1 under the hypothesis, and few that ever reach 1/alpha."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats
from scipy.integrate import quad

from deepseek.canary.e_processes import (
    add_counts,
    compute_log_limit_mixture,
    compute_log_normal_mixture,
    find_critical_z,
    find_share_bound,
    mix_counts,
)


@pytest.mark.parametrize("scale", [0.1, 1.0, 30.0])
def test_mean_of_the_normal_mixture_is_one(scale):
    mean = quad(lambda z: math.exp(compute_log_normal_mixture(z, scale) + stats.norm.logpdf(z)), -40, 60, limit=200)[0]
    assert mean == pytest.approx(1)


def test_critical_value_is_where_the_mixture_reaches_it():
    critical = find_critical_z(2.0, 0.01)
    assert compute_log_normal_mixture(critical, 2.0) == pytest.approx(math.log(100))


@pytest.mark.parametrize("above", [True, False])
def test_mean_of_the_limit_mixture_is_one_at_the_limit_and_less_on_its_good_side(above):
    limit, good = (0.1, 0.05) if above else (0.1, 0.2)
    values = [math.exp(compute_log_limit_mixture(events, 40, limit, above=above)) for events in range(41)]
    assert stats.binom.pmf(range(41), 40, limit) @ values == pytest.approx(1)
    assert stats.binom.pmf(range(41), 40, good) @ values < 1


def test_mean_of_the_mixture_of_counts_is_one_at_equal_rates():
    values = []
    for canary in range(31):
        ratios, _ = add_counts(None, {"": [canary, 30 - canary, 100, 900]}, {})
        values.append(math.exp(mix_counts(ratios)))
    assert stats.binom.pmf(range(31), 30, 0.1) @ values == pytest.approx(1)
    assert stats.binom.pmf(range(31), 30, 0.07) @ values < 1
    assert stats.hypergeom.pmf(range(31), 1000, 100, 30) @ values < 1, "as devices fail: each once"


def test_counts_add_up_whatever_the_share_of_canaries_was():
    first, totals = add_counts(None, {"a": [1, 2, 5, 50], "b": [0, 1, 0, 20]}, {})
    assert totals == {"a": [1, 2]}, "b waits for a canary"
    second, totals = add_counts(first.tolist(), {"a": [3, 4, 30, 100], "b": [0, 0, 5, 40]}, totals)
    apart, _ = add_counts(None, {"a": [2, 2, 29, 98]}, {})
    assert second == pytest.approx(first + apart)
    assert totals == {"a": [3, 4], "b": [0, 0]}


def test_many_looks_seldom_reach_the_error():
    """200 of 1,000 devices fail in random order, a tenth of them canaries; a look after every ten failures."""
    random, alpha = np.random.default_rng(7), 0.05
    crossed = 0
    for _ in range(60):
        ratios, totals = None, {}
        canary = np.cumsum(random.permutation(1000)[:200] < 100)
        for number in range(10, 201, 10):
            cell = [int(canary[number - 1]), number - int(canary[number - 1]), 100, 900]
            ratios, totals = add_counts(ratios, {"": cell}, totals)
            if mix_counts(ratios) >= -math.log(alpha):
                crossed += 1
                break
    assert crossed <= stats.binom.isf(1e-4, 60, alpha)


def test_bounds_of_a_share_hold_it():
    for events, devices in ((0, 50), (3, 50), (50, 50)):
        low, high = (find_share_bound(events, devices, 0.05, upper=upper) for upper in (False, True))
        assert 0 <= low <= events / devices <= high <= 1
        assert low == 0 or compute_log_limit_mixture(events, devices, low, above=True) == pytest.approx(math.log(20))
    assert find_share_bound(0, 0, 0.05, upper=True) == 1
