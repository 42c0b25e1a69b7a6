"""The rule "down by more than 5 %", relative and absolute, and the estimates that it compares."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import f1_score

from deepseek.drift.accuracy import DropRule, compute_difference_interval, compute_ratio_interval
from deepseek.drift.estimates import (
    NOTHING,
    ClassTotals,
    Estimate,
    compute_student_quantile,
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
    """The counts of classes do not say how their errors go together: the interval is up to half too wide or narrow."""
    shares = np.array([[0.4, 0.05, 0.03], [0.06, 0.2, 0.02], [0.04, 0.02, 0.18]])
    tables = np.random.default_rng(3).multinomial(2_000, shares.ravel(), 4_000).reshape(-1, 3, 3)
    right, labels, answers = np.diagonal(tables, axis1=1, axis2=2), tables.sum(2), tables.sum(1)
    values = (2 * right / (labels + answers)).mean(1)
    expected = (shares * 2_000).round().astype(int)
    totals = zip(expected.sum(0).tolist(), expected.sum(1).tolist(), np.diag(expected).tolist(), strict=True)
    estimate = estimate_macro_f1(ClassTotals(*total) for total in totals)
    assert estimate.value == pytest.approx(values.mean(), abs=2e-3)
    half = (estimate.high - estimate.low) / 2 / stats.norm.ppf(0.975)
    assert values.std() * 0.7 < half < values.std() * 1.5
    one_class = estimate_macro_f1([ClassTotals(500, 500, 500)])
    assert (one_class.value, one_class.high) == (1.0, 1.0)
    assert one_class.low < 1
    assert estimate_macro_f1([ClassTotals(5, 0, 0)]) == NOTHING


def test_student_quantiles():
    freedoms = [1, 2, 3, 4, 7, 30, 99, 100, 101, 1_000, 10**7]
    found = [compute_student_quantile(level, freedom) for level in (0.8, 0.95, 0.999) for freedom in freedoms]
    expected = [stats.t.ppf(0.5 + level / 2, freedom) for level in (0.8, 0.95, 0.999) for freedom in freedoms]
    assert found == pytest.approx(expected, rel=1e-8)


def test_macro_f1_is_that_of_the_rows():
    labels, answers = ["a"] * 60 + ["b"] * 30 + ["c"] * 10, ["a"] * 50 + ["b"] * 30 + ["c"] * 5 + ["a"] * 15
    totals = []
    for name in "abc":
        both = sum(right == given == name for right, given in zip(labels, answers, strict=True))
        totals.append(ClassTotals(answers.count(name), labels.count(name), both))
    estimate = estimate_macro_f1(totals)
    assert estimate.value == pytest.approx(f1_score(labels, answers, average="macro"))
    assert estimate.low < estimate.value < estimate.high


def test_answers_without_a_label_do_not_lower_f1():
    assert estimate_macro_f1([ClassTotals(200, 50, 50), ClassTotals(200, 50, 50)]).value == pytest.approx(1)


def test_bad_counts_are_named():
    for call in (
        lambda: estimate_share(-1, 10),
        lambda: estimate_share(11, 10),
        lambda: estimate_mean(3, math.nan, 1.0),
        lambda: estimate_macro_f1([ClassTotals(1, 2, -1)]),
    ):
        with pytest.raises(EngineError):
            call()
