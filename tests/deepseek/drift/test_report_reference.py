"""A reference out of a quality report is that out of the rows."""

from __future__ import annotations

import json

import numpy as np
import pyarrow as pa
import pytest

from deepseek.drift.profile import Profile
from deepseek.drift.quality_reference import build_report_reference
from deepseek.drift.two_sample import compare_profiles
from deepseek.job import EngineError
from deepseek.quality.report import build_quality_report


@pytest.fixture(scope="module")
def table():
    random = np.random.default_rng(6)
    rows = 4_000
    return pa.table(
        {
            "x": pa.array(random.normal(0, 1, rows), mask=random.random(rows) < 0.05),
            "level": random.integers(0, 4, rows),
            "flag": random.random(rows) < 0.2,
            "colour": random.choice(list("abc"), rows),
            "code": [f"{number:04}" for number in random.integers(0, 500, rows)],
        }
    )


def test_the_report_counts_as_the_rows_do(table):
    report = json.loads(json.dumps(build_quality_report(table)))
    layout, reference = build_report_reference(report)
    current = Profile(layout)
    current.update(table)
    for name, feature in reference.features.items():
        assert feature.counts.tolist() == current.features[name].counts.tolist(), name
        assert (feature.present, feature.missing) == (current.features[name].present, current.features[name].missing)
    assert reference.features["x"].deviation == pytest.approx(current.features["x"].deviation)
    drifts = compare_profiles(reference, current)
    assert {drift.verdict for drift in drifts} == {"stable"}
    assert {drift.name: drift.unseen for drift in drifts}["code"] == (), "of many values another one may be old"


def test_reports_without_rows_or_columns_are_refused():
    for report in ({}, {"rows": 0, "columns": [{"name": "x"}]}):
        with pytest.raises(EngineError, match="no rows or no columns"):
            build_report_reference(report)
    with pytest.raises(EngineError, match="no column nose"):
        build_report_reference({"rows": 1, "columns": [{"name": "x"}]}, features=["nose"])
