"""Profiles of features, merged, compared and corrected."""

from __future__ import annotations

import json

import numpy as np
import pyarrow as pa
import pytest

from deepseek.drift.layout import Layout
from deepseek.drift.profile import Profile, build_reference, merge_profiles
from deepseek.drift.two_sample import DriftOptions, compare_profiles
from deepseek.job import EngineError


def make_table(rows, *, seed, shift=0.0, colours="abc", missing=0.0):
    random = np.random.default_rng(seed)
    holes = random.random(rows) < missing
    return pa.table(
        {
            "x": pa.array(random.normal(shift, 1, rows), mask=holes),
            "level": random.integers(0, 4, rows),
            "colour": random.choice(list(colours), rows),
        }
    )


@pytest.fixture(scope="module")
def reference():
    return build_reference(make_table(20_000, seed=1))


def compare(reference, rows, options=None):
    layout, profile = reference
    current = Profile(layout)
    current.update(rows)
    return {drift.name: drift for drift in compare_profiles(profile, current, options)}


def test_the_same_distribution_is_stable(reference):
    drifts = compare(reference, make_table(5_000, seed=2))
    assert {drift.verdict for drift in drifts.values()} == {"stable"}
    assert "shows no drift" in drifts["x"].message


@pytest.mark.parametrize(
    ("change", "feature", "verdict", "test"),
    [
        ({"shift": 0.4}, "x", "moved", "ks"),
        ({"shift": 1.0}, "x", "changed", "ks"),
        ({"missing": 0.4}, "x", "changed", "missing"),
        ({"colours": "abcd"}, "colour", "changed", "unseen"),
        ({"colours": "aab"}, "colour", "changed", "chi_square"),
    ],
)
def test_a_change_is_found_in_its_feature_alone(reference, change, feature, verdict, test):
    drifts = compare(reference, make_table(5_000, seed=3, **change))
    assert (drifts[feature].verdict, drifts[feature].test) == (verdict, test)
    assert next(iter(drifts)) == feature, "the most drifted comes first"
    assert [drift.name for drift in drifts.values() if drift.is_drift] == [feature]
    assert json.dumps(drifts[feature].to_dict(), allow_nan=False)


def test_parts_add_up_in_any_order(reference):
    layout, _ = reference
    table = make_table(3_000, seed=4, missing=0.1)
    together = Profile(layout)
    together.update(table)
    parts = []
    for start in (2_000, 0, 1_000):
        part = Profile(layout)
        part.update(table.slice(start, 1_000).to_pylist())
        parts.append(Profile.from_dict(json.loads(json.dumps(part.to_dict(), allow_nan=False)), layout))
    merged = merge_profiles(layout, parts).to_dict()
    for name, feature in together.to_dict()["features"].items():
        assert merged["features"][name] == pytest.approx(feature) if "mean" in feature else feature
    again = Layout.from_dict(json.loads(json.dumps(layout.to_dict())))
    assert again.digest == layout.digest


def test_floods_are_verdicts(reference):
    drifts = compare(reference, [{"x": float("nan"), "level": "high", "colour": None}] * 200)
    assert {drift.verdict for drift in drifts.values()} == {"changed"}
    assert {drift.test for drift in drifts.values()} == {"missing"}


def test_too_few_rows_decide_nothing(reference):
    for rows in ([], [{"x": 1.0}] * 20):
        drifts = compare(reference, rows)
        assert {drift.verdict for drift in drifts.values()} == {"unknown"}
        assert "nothing is decided" in drifts["x"].message


def test_other_layouts_and_bad_records_are_refused(reference):
    layout, profile = reference
    other, _ = build_reference(make_table(500, seed=9))
    with pytest.raises(EngineError, match="different layouts"):
        compare_profiles(profile, Profile(other))
    with pytest.raises(EngineError, match="not a drift profile"):
        Profile.from_dict({"layout": layout.digest, "rows": 3, "features": {}}, layout)
    with pytest.raises(EngineError, match="not a layout"):
        Layout.from_dict({"schema": "other"})
    with pytest.raises(EngineError, match="has no rows"):
        build_reference(lambda: [])


def test_one_alpha_for_all_features(reference):
    raw = compare(reference, make_table(5_000, seed=3, shift=0.4), DriftOptions(correction="none"))["x"]
    holm = compare(reference, make_table(5_000, seed=3, shift=0.4))["x"]
    assert holm.p == raw.p == raw.corrected_p < holm.corrected_p
