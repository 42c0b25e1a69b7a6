"""What cleaning would change is what cleaning changes."""

import pyarrow.parquet as pq
import pytest

from deepseek.clean.explain import MAX_CHANGES, explain, format_lines
from deepseek.clean.run import run
from deepseek.clean.spec import CleanSpec
from deepseek.job import EngineError, Silent

TEXT = "day,x,k\n1,1.5,1\n2,,2\n3,2.5,\n4,900,4\n5,2.6,5\n6,2.4,6\n7,2.7,7\n"


@pytest.fixture
def told(write):
    return lambda text=TEXT, rows=2000, **spec: explain(CleanSpec(**spec), write(text), rows=rows)


def column(document, name):
    return next(one for one in document["columns"] if one["name"] == name)


def test_fill_alone(told):
    document = told()
    assert document["steps"] == [
        {"step": "fill", "method": "median_window", "window_size": 5, "cells": 2, "columns": {"x": 1, "k": 1}}
    ]
    assert document["changes"] == [
        {"row": 2, "column": "x", "before": None, "after": "2.5", "why": "filled"},
        {"row": 3, "column": "k", "before": None, "after": "3", "why": "filled"},
    ]
    assert (document["rows_dropped"], document["whole"], document["changed"]) == (0, True, 2)


@pytest.mark.parametrize(
    ("action", "cells", "why"), [("flag", 0, {}), ("cap", 2, {"capped": 2}), ("blank", 2, {"replaced": 2})]
)
def test_each_action_on_outliers(told, action, cells, why):
    document = told(outliers={"method": "iqr", "action": action})
    step, x = document["steps"][0], column(document, "x")
    assert (step["step"], step["found"], step["cells"]) == ("outliers", 2, cells)
    assert {name: x[name] for name in ("capped", "replaced", "blanked") if x.get(name)} == why
    assert (x["lower"], x["upper"]) == (pytest.approx(2.05), pytest.approx(3.05))


def test_flags_are_columns_added(told):
    assert told(outliers={"method": "iqr"})["columns_added"] == ["day__outlier", "x__outlier", "k__outlier"]


def test_a_blanked_outlier_that_nothing_fills(told):
    document = told(fill="none", outliers={"method": "iqr", "action": "blank"})
    assert [step["step"] for step in document["steps"]] == ["outliers"]
    assert [(c["before"], c["after"], c["why"]) for c in document["changes"]] == [
        ("1.5", None, "blanked"),
        ("900.0", None, "blanked"),
    ]


def test_both_distributions_stand_on_the_same_bins(told):
    drawn = column(told(outliers={"method": "iqr", "action": "cap"}), "x")["histogram"]
    assert (drawn["edges"][0], drawn["edges"][-1]) == (1.5, 900)
    assert (sum(drawn["before"]), sum(drawn["after"])) == (6, 7)
    assert column(told(), "day")["histogram"] is None


def test_the_cells_are_those_that_the_run_changes(told, write, tmp_path):
    spec = CleanSpec(outliers={"method": "iqr", "action": "cap"})
    run(spec, inputs={"table": write(TEXT)}, out=tmp_path / "out", report=Silent())
    made = pq.read_table(tmp_path / "out/table.parquet")
    document = told(outliers={"method": "iqr", "action": "cap"})
    for change in document["changes"]:
        assert change["after"] == str(made.column(change["column"])[change["row"] - 1].as_py())
    assert len(document["changes"]) == 4


def test_only_the_first_rows_count(told):
    document = told(rows=2)
    assert (document["rows"], document["of_rows"], document["whole"]) == (2, None, False)
    assert column(document, "x")["missing"] == 1


def test_some_cells_of_every_column_are_shown(told):
    text = "a,b\n1,1\n" + ",\n" * 200 + "1,\n" * 5
    document = told(text, window_size=1001)
    assert len(document["changes"]) == MAX_CHANGES
    assert {change["column"] for change in document["changes"]} == {"a", "b"}


@pytest.mark.parametrize(
    ("spec", "field"), [({"columns": ["z"]}, "/columns/0"), ({"columns": ["day", "t"]}, "/columns/1")]
)
def test_refused_as_the_run_refuses(told, spec, field):
    with pytest.raises(EngineError) as caught:
        told("day,t\n1,a\n", **spec)
    assert caught.value.field == field


def test_told_to_a_person(told):
    lines = list(format_lines(told(outliers={"method": "iqr", "action": "cap"})))
    assert lines[:2] == ["looked at all rows; nothing was written", "outliers (iqr, 1.5, cap): 2 found, 2 cells change"]
    assert "  row 2, x: missing -> 2.5 (filled)" in lines
    assert "rows dropped: 0" in lines
