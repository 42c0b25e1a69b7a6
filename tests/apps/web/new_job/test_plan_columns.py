"""Which columns each step of a plan finds."""

from apps.data.datasets.column_choices import TableColumn
from apps.web.new_job.plan_columns import build_step_choices, describe_step, walk_steps

TABLE = [TableColumn("x", "double"), TableColumn("k", "int64"), TableColumn("t", "string")]


def names(*steps):
    *_, (_step, here) = walk_steps(TABLE, [*steps, {"kind": "drop"}])
    return [column.name for column in here]


def test_steps_before_make_rename_and_drop_columns():
    assert names({"kind": "derive", "name": "y"}) == ["x", "k", "t", "y"]
    assert names({"kind": "rename", "names": [{"column": "x", "name": "z"}]}) == ["z", "k", "t"]
    assert names({"kind": "drop", "columns": ["x"]}) == ["k", "t"]
    assert names({"kind": "keep", "columns": ["t", "x"]}) == ["x", "t"]
    assert names({"kind": "outliers", "action": "flag"}) == ["x", "k", "t", "x__outlier", "k__outlier"]


def test_columns_that_do_not_fit_the_step_are_told():
    offers = build_step_choices(
        TABLE, [{"kind": "hampel"}, {"kind": "cast", "columns": ["k"], "to": "text"}, {"kind": "replace_text"}]
    )
    assert [offer.fits for offer in offers["/steps/0/columns"]] == [True, True, False]
    assert [offer.fits for offer in offers["/steps/2/columns"]] == [False, True, True]


def test_numbers_are_offered_to_be_masked():
    """Phones and card numbers of a CSV file are read as integers, and as floats where some are missing."""
    table = [*TABLE, TableColumn("day", "date32[day]")]
    offers = build_step_choices(table, [{"kind": "mask"}])
    assert [offer.fits for offer in offers["/steps/0/columns"]] == [True, True, True, False]


def test_what_was_typed_may_be_anything():
    assert build_step_choices(TABLE, "x") == {}
    assert next(walk_steps(TABLE, ["x", {"kind": "rename", "names": ["x"]}]))[1] == TABLE


def test_a_step_in_a_few_words():
    step = {"found": None, "cells": 1200, "rows_dropped": 9, "rows_added": -1, "dropped_rows": [1, 2]}
    assert describe_step(step) == ["1,200 cells change", "9 rows dropped", "dropped rows: 1, 2 …"]
    assert describe_step({"cells": 0}) == ["nothing changes"]
