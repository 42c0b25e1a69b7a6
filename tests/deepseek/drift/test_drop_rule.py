"""The rule "down by more than 5 %", relative and absolute, and the estimates that it compares."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from deepseek.drift.accuracy import DropRule, compute_difference_interval, compute_ratio_interval
from deepseek.drift.estimates import (
    NOTHING,
    Estimate,
    estimate_f1,
    estimate_macro_f1,
    estimate_mean,
    estimate_share,
)
from deepseek.job import EngineError

FIXED = Estimate.make_fixed(0.80)


@pytest.mark.parametrize(
    ("mode", "right", "verdict"),
    [  # of 10,000: the interval reaches about 0.008 to either side
        ("relative", 8_000, "ok"),
        ("relative", 7_700, "ok"),  # the line is at 0.76
        ("relative", 7_620, "inconclusive"),
        ("relative", 7_580, "inconclusive"),
        ("relative", 7_500, "alarm"),
        ("absolute", 7_600, "ok"),  # the line is at 0.75
        ("absolute", 7_500, "inconclusive"),
        ("absolute", 7_400, "alarm"),
    ],
)
def test_accuracy_down_by_more_than_five_percent(mode, right, verdict):
    result = DropRule(mode=mode).evaluate(FIXED, estimate_share(right, 10_000))
    assert (result.verdict, result.threshold) == (verdict, pytest.approx(0.76 if mode == "relative" else 0.75))


@pytest.mark.parametrize(
    ("mode", "mean", "verdict"),
    [
        ("relative", 2.05, "ok"),  # the line is at 2.10
        ("relative", 2.10, "inconclusive"),
        ("relative", 2.15, "alarm"),
        ("absolute", 2.00, "ok"),  # the line is at 2.05
        ("absolute", 2.05, "inconclusive"),
        ("absolute", 2.10, "alarm"),
    ],
)
def test_errors_up_by_more_than_five_percent(mode, mean, verdict):
    window = estimate_mean(10_000, 10_000 * mean, 10_000 * (mean**2 + 1))
    assert DropRule(mode=mode, better="lower").evaluate(Estimate.make_fixed(2.0), window).verdict == verdict


def test_an_uncertain_reference_makes_the_verdict_uncertain():
    window = estimate_share(7_400, 10_000)
    assert DropRule().evaluate(FIXED, window).verdict == "alarm"
    assert DropRule().evaluate(estimate_share(80, 100), window).verdict == "inconclusive"
    assert DropRule(decide_by="estimate").evaluate(estimate_share(80, 100), window).verdict == "alarm"


@pytest.mark.parametrize(
    ("reference", "window", "reason"),
    [
        (NOTHING, estimate_share(5, 200), "no_reference"),
        (FIXED, NOTHING, "too_few"),
        (FIXED, estimate_share(0, 99), "too_few"),
        (Estimate.make_fixed(0.0), estimate_share(5, 200), "zero_reference"),
        (Estimate.make_fixed(math.nan), estimate_share(5, 200), "no_reference"),
    ],
)
def test_what_cannot_be_decided_says_why(reference, window, reason):
    result = DropRule().evaluate(reference, window)
    assert (result.verdict, result.reason) == ("inconclusive", reason)


@pytest.mark.parametrize("limit", [0, 1, -0.05, math.nan])
def test_impossible_limits(limit):
    with pytest.raises(EngineError, match=f"limit of {limit} is"):
        DropRule(limit=limit)


def test_newcombe_of_1998():
    """Table II, (a): 56/70 against 48/80, method 10."""
    first, second = estimate_share(56, 70), estimate_share(48, 80)
    bounds = compute_difference_interval(*((e.value, e.low, e.high) for e in (first, second)))
    assert bounds == pytest.approx((0.0524, 0.3339), abs=1e-4)


def test_a_ratio_ends_where_its_contrast_does():
    first, second = (0.7, 0.66, 0.74), (0.8, 0.75, 0.84)
    for ratio, end in zip(compute_ratio_interval(first, second), (0, 1), strict=True):
        contrast = compute_difference_interval(first, tuple(ratio * part for part in second))
        assert contrast[end] == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize(("cases", "rows"), [(0, 10), (7, 10), (10, 10), (961, 1000)])
def test_wilson(cases, rows):
    expected = stats.binomtest(cases, rows).proportion_ci(method="wilson")
    estimate = estimate_share(cases, rows)
    assert (estimate.low, estimate.high) == pytest.approx((expected.low, expected.high))


def test_mean_of_errors_by_student():
    errors = np.random.default_rng(1).exponential(2, 50)
    estimate = estimate_mean(50, errors.sum(), np.square(errors).sum())
    expected = stats.t.interval(0.95, 49, errors.mean(), stats.sem(errors))
    assert (estimate.low, estimate.high) == pytest.approx(expected)
    assert estimate_mean(1, 2.0, 4.0).low is None


def test_f1_of_one_class():
    estimate = estimate_f1(40, 10, 10)
    assert estimate.value == pytest.approx(0.8)
    assert estimate.low < 0.8 < estimate.high
    assert estimate_f1(0, 0, 0) == NOTHING


def test_macro_f1_varies_as_its_interval_says():
    shares = np.array([[0.5, 0.05], [0.1, 0.35]])
    random = np.random.default_rng(3)
    tables = random.multinomial(2_000, shares.ravel(), 4_000).reshape(-1, 2, 2)
    right, labels, answers = np.diagonal(tables, axis1=1, axis2=2), tables.sum(2), tables.sum(1)
    spread = (2 * right / (labels + answers)).mean(1).std()
    estimate = estimate_macro_f1((shares * 2_000).round().astype(int).tolist())
    assert (estimate.high - estimate.low) / 2 / stats.norm.ppf(0.975) == pytest.approx(spread, rel=0.05)
    one_class = estimate_macro_f1([[500, 0], [0, 0]])
    assert (one_class.value, one_class.high) == (1.0, 1.0)
    assert one_class.low < 1


def test_bad_counts_are_named():
    for call in (
        lambda: estimate_share(-1, 10),
        lambda: estimate_share(11, 10),
        lambda: estimate_mean(3, math.nan, 1.0),
        lambda: estimate_macro_f1([[1, 2]]),
    ):
        with pytest.raises(EngineError):
            call()
