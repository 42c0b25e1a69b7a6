"""Fences against their published definitions."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deepseek.quality.outliers import compute_fences, compute_iqr_fences, compute_robust_z_fences

NUMBERS = st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=60).map(np.array)


def test_tukeys_fences():
    found = compute_iqr_fences(np.array([1.0, 2, 3, 4, 100, np.nan]))
    assert (found.lower, found.upper) == (2 - 1.5 * 2, 4 + 1.5 * 2)
    assert found.outside(np.array([-1.0, -1.1, 7, 7.1, np.nan])).tolist() == [False, True, False, True, False]


def test_robust_z_of_the_handbook_form():
    values = np.array([1.0, 2, 3, 4, 8.1, 8.3])  # median 3.5, MAD 2
    score = 0.6745 * (values - 3.5) / 2
    found = compute_robust_z_fences(values, 1.6)
    assert found.outside(values).tolist() == (abs(score) > 1.6).tolist() == [False] * 5 + [True]


def test_no_spread_means_no_robust_z_and_says_so():
    found = compute_robust_z_fences(np.array([5.0, 5, 5, 9]))
    assert not found.outside(np.array([5.0, 9, 1e9])).any()
    assert "half of the values are equal" in found.note


@pytest.mark.parametrize("method", ["iqr", "robust_z"])
@pytest.mark.parametrize("values", [[], [np.nan], [np.inf, np.nan]])
def test_no_finite_value_means_no_outlier(method, values):
    assert not compute_fences(method, np.array(values, dtype=float), 1.5).outside(np.array([1e300, np.nan])).any()


@pytest.mark.parametrize("method", ["iqr", "robust_z"])
def test_an_infinity_is_an_outlier_and_moves_no_fence(method):
    values = np.array([1.0, 2, 3, 4, 5])
    with_infinity = np.append(values, np.inf)
    assert compute_fences(method, with_infinity, 3) == compute_fences(method, values, 3)
    assert compute_fences(method, with_infinity, 3).outside(with_infinity).tolist() == [False] * 5 + [True]


@pytest.mark.parametrize("method", ["iqr", "robust_z"])
def test_overflow_opens_the_fence(method):
    values = np.array([-1.7e308, -1e308, 1e308, 1.7e308])
    assert not compute_fences(method, values, 1000).outside(values).any()


@given(NUMBERS, st.floats(1, 10))
def test_at_least_half_of_the_values_are_never_outliers(values, k):
    for method in ("iqr", "robust_z"):
        assert compute_fences(method, values, k).outside(values).mean() <= 0.5


@given(NUMBERS)
def test_a_higher_threshold_never_finds_more(values):
    for method in ("iqr", "robust_z"):
        narrow, wide = (compute_fences(method, values, k).outside(values) for k in (1.0, 2.0))
        assert not (wide & ~narrow).any()
