"""Batch by batch the report says what it says of the table in memory."""

import math

import numpy as np
import pyarrow as pa
import pytest
from scipy import stats

from deepseek.quality.report import build_quality_report
from deepseek.tables.batches import TableBatches

ROWS = 3000


def table(rows=ROWS, seed=0):
    rng = np.random.default_rng(seed)
    normal, missing = rng.normal(size=rows), rng.random(rows) < 0.05
    days = (10_000 + rng.integers(0, 900, rows)).astype("datetime64[D]")
    return pa.table(
        {
            "normal": pa.array(normal, mask=missing),
            "like": normal * 2 + rng.normal(size=rows),
            "ties": rng.choice([0.0, 5.0, 5.0, 7.0], rows),
            "wide": np.exp(rng.normal(size=rows) * 50),
            "endless": np.where(rng.random(rows) < 0.01, np.inf, normal),
            "big": rng.integers(0, 2**62, rows),
            "const": np.full(rows, 3.5),
            "word": pa.array(
                [None if gone else f"w{n}" for n, gone in zip(rng.integers(0, 9, rows), missing, strict=True)]
            ),
            "name": [f"x{n}" for n in range(rows)],
            "flag": pa.array(rng.random(rows) < 0.3, mask=missing),
            "day": pa.array(days),
            "text_day": [str(day) for day in days],
            "money": pa.array(np.round(normal * 100).astype(int)).cast(pa.decimal128(30, 2)),
        }
    )


def equal(one, other, path=""):
    if isinstance(one, dict):
        assert one.keys() == other.keys(), path
        for key in one:
            if key not in ("below", "spearman", "spearman_exact"):
                equal(one[key], other[key], f"{path}/{key}")
    elif isinstance(one, list):
        assert len(one) == len(other), path
        for place, (a, b) in enumerate(zip(one, other, strict=True)):
            equal(a, b, f"{path}/{place}")
    elif isinstance(one, float) and path.rsplit("/", 1)[-1] in ("mean", "std"):
        assert math.isclose(one, other, rel_tol=1e-12, abs_tol=1e-12), path
    elif isinstance(one, float) and "/correlations/" in path:
        assert math.isclose(one, other, rel_tol=1e-9, abs_tol=1e-9), path
    else:
        assert one == other, path


@pytest.mark.parametrize(("size", "rows"), [(7, 400), (47, ROWS), (1000, ROWS), (ROWS, ROWS)])
@pytest.mark.parametrize("held", [None, 0])
def test_batches_have_the_profile_of_the_table(size, rows, held):
    whole = table(rows)
    equal(build_quality_report(whole), build_quality_report(TableBatches(whole, size), max_values=held))


def test_gaps_and_order_are_counted_across_the_borders():
    gaps = pa.table({"a": pa.array([1, None, None, None, 2, None]), "d": pa.array([3, 2, 2, 5, 4, 4], pa.date32())})
    found = build_quality_report(TableBatches(gaps, 2))["columns"]
    assert found[0]["longest_gap"] == 3
    assert (found[1]["dates"]["out_of_order"], found[1]["dates"]["repeated"]) == (2, 2)


def test_the_shares_below_are_exact():
    values = np.random.default_rng(3).normal(size=ROWS).round(2)
    for held in (None, 0):
        told = build_quality_report(TableBatches(pa.table({"a": values}), 500), max_values=held)["columns"][0][
            "numeric"
        ]["below"]
        for at, under, upto in zip(told["at"], told["under"], told["upto"], strict=True):
            assert (under, upto) == ((values < at).mean(), (values <= at).mean())
        assert (told["under"][0], told["upto"][-1]) == (0.0, 1.0)


def test_correlations_are_scipys():
    whole = table()
    chosen = whole.select(["like", "ties", "wide", "big"])
    found = build_quality_report(chosen)["correlations"]
    columns = [chosen.column(name).to_numpy() for name in chosen.column_names]
    for a, one in enumerate(columns):
        for b, other in enumerate(columns):
            assert math.isclose(found["pearson"][a][b], stats.pearsonr(one, other)[0], abs_tol=1e-9)
            assert math.isclose(found["spearman"][a][b], stats.spearmanr(one, other)[0], abs_tol=1e-9)
    assert found["spearman_exact"] is True


def test_ranks_by_parts_come_near():
    whole = table(20_000)
    exact, near = (
        build_quality_report(TableBatches(whole, 5000), max_values=held)["correlations"] for held in (None, 0)
    )
    assert near["spearman_exact"] is False
    gaps = np.abs(np.array(exact["spearman"], float) - np.array(near["spearman"], float))
    assert np.nanmax(gaps) < 0.01


def test_pairs_with_a_missing_value_are_left_out():
    a, b = [1.0, 2.0, None, 4.0, 9.0], [2.0, 1.0, 50.0, None, 7.0]
    found = build_quality_report(pa.table({"a": a, "b": b}))["correlations"]
    assert found["rows"][0][1] == 3
    assert math.isclose(found["pearson"][0][1], np.corrcoef([1, 2, 9], [2, 1, 7])[0, 1])


def test_what_is_left_out_is_named():
    rng = np.random.default_rng(0)
    found = build_quality_report(pa.table({f"c{n}": rng.normal(size=50) for n in range(33)}))["correlations"]
    assert (len(found["columns"]), found["left_out"]) == (30, ["c30", "c31", "c32"])


def test_cramers_v_of_categories():
    rng = np.random.default_rng(1)
    a = rng.choice(["x", "y", "z"], 500)
    b = np.where(rng.random(500) < 0.7, a, rng.choice(["x", "y", "z"], 500))
    found = build_quality_report(pa.table({"a": a, "b": b, "c": ["only"] * 500}))["associations"]
    counts = stats.contingency.crosstab(a, b).count
    assert math.isclose(found["cramers_v"][0][1], stats.contingency.association(counts, "cramer"), abs_tol=1e-9)
    assert found["columns"] == ["a", "b"]


def test_texts_are_measured():
    found = build_quality_report(pa.table({"t": ["", "abc", "电网", None]}))["columns"][0]
    assert found["text"] == {"shortest": 0, "longest": 3, "mean": 5 / 3, "empty": 1}
    assert found["values"] == [["", 1], ["abc", 1], ["电网", 1]]
    assert (found["distinct_exact"], found["distinct_error"], found["top_exact"]) == (True, 0.0, True)


def test_a_table_without_rows_or_without_a_first_pass_to_hold():
    empty = build_quality_report(pa.table({"a": pa.array([], pa.float64()), "t": pa.array([], pa.string())}))
    assert (empty["rows"], empty["duplicate_rows"], empty["correlations"]) == (0, 0, None)
