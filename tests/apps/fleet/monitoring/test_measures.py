"""Lines, limits and intervals by hand."""

from __future__ import annotations

import pytest
from sklearn.metrics import f1_score

from apps.fleet.monitoring.measures import ClassTotals, compute_line, compute_macro_f1, find_recorded, is_beyond
from apps.ml.observations.queries import Estimate


@pytest.mark.parametrize(
    ("metric", "rule", "line"),
    [
        ("accuracy", "relative", 0.855),
        ("accuracy", "absolute", 0.85),
        ("f1", "relative", 0.855),
        ("error", "relative", 0.945),
        ("error", "absolute", 0.95),
    ],
)
def test_the_line_of_five_percent(metric, rule, line):
    assert compute_line(metric, rule, 0.05, 0.9) == pytest.approx(line)


@pytest.mark.parametrize(
    ("metric", "certainty", "estimate", "beyond"),
    [
        ("accuracy", "value", Estimate(0.84, 0.80, 0.88), True),
        ("accuracy", "value", Estimate(0.86, 0.80, 0.88), False),
        ("accuracy", "interval", Estimate(0.84, 0.80, 0.88), False),
        ("accuracy", "interval", Estimate(0.80, 0.76, 0.84), True),
        ("error", "value", Estimate(0.86, 0.80, 0.90), True),
        ("error", "interval", Estimate(0.86, 0.80, 0.90), False),
    ],
)
def test_what_is_beyond_a_line_of_085(metric, certainty, estimate, beyond):
    assert is_beyond(metric, certainty, estimate, 0.85) is beyond


def test_macro_f1_is_that_of_the_rows():
    labels, answers = ["a"] * 60 + ["b"] * 30 + ["c"] * 10, ["a"] * 50 + ["b"] * 30 + ["c"] * 5 + ["a"] * 15
    totals = []
    for name in "abc":
        both = sum(right == given == name for right, given in zip(labels, answers, strict=True))
        totals.append(ClassTotals(answers.count(name), labels.count(name), both))
    found = compute_macro_f1(totals)
    assert found.value == pytest.approx(f1_score(labels, answers, average="macro"))
    assert found.low < found.value < found.high


def test_answers_without_a_label_do_not_lower_f1():
    assert compute_macro_f1([ClassTotals(200, 50, 50), ClassTotals(200, 50, 50)]).value == pytest.approx(1)


def test_what_a_version_does_not_record_is_no_reference():
    assert find_recorded("f1", [{"name": "accuracy", "value": 0.9}]) is None
    assert find_recorded("error", [{"name": "mae", "value": 2}]) == 2.0
