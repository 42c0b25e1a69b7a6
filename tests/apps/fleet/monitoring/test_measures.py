"""A monitor's rule is the engine's: lines and verdicts by hand."""

from __future__ import annotations

import pytest

from apps.fleet.monitoring.measures import build_rule, find_recorded, is_beyond
from apps.fleet.monitoring.models import Monitor
from deepseek.drift.estimates import Estimate

LINES = {
    ("accuracy", "relative"): 0.855,
    ("accuracy", "absolute"): 0.85,
    ("f1", "relative"): 0.855,
    ("error", "relative"): 0.945,
    ("error", "absolute"): 0.95,
}
BEYOND = [  # of an absolute 0.05 from 0.9, or from 0.8 where less is better: both have their line at 0.85
    ("accuracy", "value", (0.84, 0.80, 0.88), True),
    ("accuracy", "value", (0.86, 0.80, 0.88), False),
    ("accuracy", "interval", (0.84, 0.80, 0.88), False),
    ("accuracy", "interval", (0.80, 0.76, 0.84), True),
    ("error", "value", (0.86, 0.80, 0.90), True),
    ("error", "interval", (0.86, 0.80, 0.90), False),
    ("error", "interval", (0.89, 0.86, 0.92), True),
    ("error", "interval", (0.89, None, None), False),  # one row has no interval
]


def test_the_line_of_five_percent():
    found = {
        (metric, rule): build_rule(Monitor(metric=metric, rule=rule, limit=0.05)).compute_threshold(0.9)
        for metric, rule in LINES
    }
    assert found == pytest.approx(LINES)


def test_what_is_beyond_a_line_of_085():
    wrong = []
    for metric, certainty, values, expected in BEYOND:
        rule = build_rule(Monitor(metric=metric, rule="absolute", limit=0.05, certainty=certainty))
        reference = 0.8 if metric == "error" else 0.9
        if is_beyond(rule, reference, Estimate(*values, count=1)) is not expected:
            wrong.append((metric, certainty, values))
    assert wrong == []


def test_what_a_version_does_not_record_is_no_reference():
    assert find_recorded("f1", [{"name": "accuracy", "value": 0.9}]) is None
    assert find_recorded("error", [{"name": "mae", "value": 2}]) == 2.0
