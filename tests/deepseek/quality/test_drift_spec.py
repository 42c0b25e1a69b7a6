"""Drift from two reports: the figures of scipy and of the definition, the verdicts, what cannot be told."""

import json
import math

import numpy as np
import pyarrow as pa
import pytest
from scipy import stats

from deepseek.quality.drift_spec import classify_drift, compute_drift
from deepseek.quality.report import build_quality_report
from deepseek.tables.batches import TableBatches

RNG = np.random.default_rng(5)
NORMAL = RNG.normal(size=4000)


def report(values, held=None, **more):
    return build_quality_report(TableBatches(pa.table({"a": pa.array(values, **more)}), 1000), max_values=held)


def only(before, after):
    told = compute_drift(before, after)
    json.dumps(told, allow_nan=False)
    return told["columns"][0]


@pytest.mark.parametrize("held", [None, 0])
@pytest.mark.parametrize("shift", [0.0, 0.3, 2.0])
def test_the_distance_is_scipys_within_what_it_says(shift, held):
    other = RNG.normal(size=3000) + shift
    told = only(report(NORMAL, held), report(other, held))
    exact = stats.ks_2samp(NORMAL, other).statistic
    assert abs(told["ks"] - exact) <= told["ks_error"] <= 0.02
    assert told["verdict"] == {0.0: "stable", 0.3: "moved", 2.0: "changed"}[shift]


def test_few_values_are_exact():
    one, other = RNG.integers(0, 5, 500), RNG.integers(0, 6, 500)
    told = only(report(one), report(other))
    assert (told["ks_exact"], told["ks"]) == (True, pytest.approx(stats.ks_2samp(one, other).statistic))


def test_psi_is_its_definition_over_the_parents_bins():
    other = RNG.choice([0.0, 1.0, 2.0, 3.0], 1000, p=[0.1, 0.2, 0.3, 0.4])
    parent = RNG.choice([0.0, 1.0, 2.0, 3.0], 1000)
    told = only(report(parent), report(other))
    p, q = ([(values == n).mean() for n in range(4)] for values in (parent, other))
    assert math.isclose(told["psi"], sum((b - a) * math.log(b / a) for a, b in zip(p, q, strict=True)), rel_tol=1e-9)
    assert told["psi_bins"] == 4


def test_values_beyond_the_parents_range_count():
    told = only(report(NORMAL), report(NORMAL + 100))
    assert told["psi"] > 1
    assert told["ks"] == 1.0


def test_categories_that_are_new_and_lost():
    told = only(report(["x", "y"] * 100), report(["x"] * 180 + ["z"] * 20))
    assert (told["new_categories"], told["lost_categories"], told["unseen_share"]) == (["z"], ["y"], 0.5)
    assert told["verdict"] == "changed"
    assert "unseen_share" in told["reasons"]


def test_gaps_that_came():
    told = only(report([1.0] * 100), report([1.0] * 90 + [None] * 10, type=pa.float64()))
    assert (told["missing_share_change"], told["verdict"], told["reasons"]) == (0.1, "moved", ["missing_share"])


def test_columns_that_came_went_and_changed_their_type():
    before = build_quality_report(pa.table({"a": [1], "gone": [1], "t": [1]}))
    told = compute_drift(before, build_quality_report(pa.table({"a": [1], "t": ["1"], "new": [1]})))
    assert told["schema_changes"] == {
        "added": [{"name": "new", "dtype": "int64"}],
        "removed": [{"name": "gone", "dtype": "int64"}],
        "retyped": [{"name": "t", "before": "int64", "after": "string"}],
    }
    assert told["verdict"] == "moved"


def test_an_older_report_is_read_by_its_histogram():
    parent = report(NORMAL)
    del parent["columns"][0]["numeric"]["below"]
    told = only(parent, report(NORMAL + 2))
    assert (told["verdict"], told["ks_exact"]) == ("changed", False)
    assert told["ks"] == pytest.approx(stats.ks_2samp(NORMAL, NORMAL + 2).statistic, abs=0.05)


def test_nothing_is_told_of_nothing():
    for one, other in (([None], [1.0]), ([1.0], [None]), ([None], [None])):
        told = only(report(one, type=pa.float64()), report(other, type=pa.float64()))
        assert (told["psi"], told["ks"]) == (None, None)
    assert compute_drift({"rows": 0, "columns": []}, {"columns": []})["verdict"] == "stable"


def test_a_cleaned_table_tells_its_drift_from_the_raw_one():
    raw = build_quality_report(pa.table({"a": [1.0, None, 3.0]}))
    told = build_quality_report(pa.table({"a": [1.0, 2.0, 3.0]}), parent=raw)["drift"]
    assert told["columns"][0]["missing_share_change"] == pytest.approx(-1 / 3)


def test_limits_are_data():
    assert [classify_drift("psi", value) for value in (0.05, 0.1, 0.3)] == ["stable", "moved", "changed"]
