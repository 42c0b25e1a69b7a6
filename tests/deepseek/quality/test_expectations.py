"""Each kind of expectation: kept, broken with the rows that break it, across the borders of batches."""

import datetime as dt
import json

import pyarrow as pa
import pytest

from deepseek.job import EngineError
from deepseek.quality.expectation_schema import build_pandera_schema
from deepseek.quality.expectations import (
    check_expectations,
    list_expectation_warnings,
    parse_expectations,
    refuse_failures,
)
from deepseek.tables.batches import TableBatches
from deepseek.tables.redaction import REDACTED

DAYS = [dt.date(2020, 1, 1), dt.date(2020, 1, 3), dt.date(2020, 1, 2), None, dt.date(2021, 1, 1)]
TABLE = pa.table(
    {
        "a": [1, 2, None, 200, 2],
        "b": [1.5, 1.0, None, 3.0, 2.0],
        "s": ["x", "yy", None, "电网线路", "yy"],
        "f": [True, None, False, True, True],
        "d": pa.array(DAYS),
        "t": ["2020-01-01", "2020-01-02 10:00:00", "bad", None, "2030-01-01"],
        "m": pa.array([1, 2, 3, 4, 5]).cast(pa.decimal128(30, 2)),
    }
)


def results(*given, table=TABLE, **options):
    return check_expectations(table, parse_expectations(json.dumps(given)), **options)


BROKEN = [
    ({"kind": "range", "column": "a", "minimum": 0, "maximum": 100}, 4, [4]),
    ({"kind": "range", "column": "b", "minimum": 1.5}, 4, [2]),
    ({"kind": "range", "column": "m", "maximum": 4}, 5, [5]),
    ({"kind": "not_null", "column": "a"}, 5, [3]),
    ({"kind": "unique", "columns": ["a"]}, 4, [5]),
    ({"kind": "unique", "columns": ["a", "s"]}, 4, [5]),
    ({"kind": "one_of", "column": "s", "values": ["x", "yy", 5]}, 4, [4]),
    ({"kind": "one_of", "column": "a", "values": [1, 2.0, "200"]}, 4, [4]),
    ({"kind": "one_of", "column": "f", "values": [True, 0]}, 4, [3]),
    ({"kind": "one_of", "column": "d", "values": ["2020-01-01", "2020-01-02", "2020-01-03"]}, 4, [5]),
    ({"kind": "matches", "column": "s", "pattern": "^[xy]+$"}, 4, [4]),
    ({"kind": "length", "column": "s", "minimum": 1, "maximum": 3}, 4, [4]),
    ({"kind": "monotonic", "column": "a"}, 4, [5]),
    ({"kind": "monotonic", "column": "d", "strict": True}, 4, [3]),
    ({"kind": "compare", "left": "a", "operator": "<=", "right": "b"}, 4, [2, 4]),
    ({"kind": "date_range", "column": "d", "latest": "2020-12-31"}, 4, [5]),
    ({"kind": "date_range", "column": "t", "earliest": "2020-01-01", "latest": "2025-01-01"}, 4, [3, 5]),
]


@pytest.mark.parametrize("size", [1, 2, 100])
def test_the_rows_that_break_it_are_found(size):
    wrong = []
    for given, of, rows in BROKEN:
        result = results(given, table=TableBatches(TABLE, size))[0]
        counts = (result["verdict"], result["broken"], result["of"], [each["row"] for each in result["first"]])
        if counts != ("fail", len(rows), of, rows):
            wrong.append((given, counts))
    assert wrong == []


@pytest.mark.parametrize(
    "given",
    [
        {"kind": "column", "column": "a", "dtype": "integer"},
        {"kind": "column", "column": "d", "dtype": "date"},
        {"kind": "range", "column": "a", "minimum": 1, "maximum": 200},
        {"kind": "range", "column": "a", "maximum": 100, "max_share": 0.25},
        {"kind": "row_count", "minimum": 5, "maximum": 5},
        {"kind": "unique", "columns": ["t"]},
        {"kind": "monotonic", "column": "m", "strict": True},
        {"kind": "compare", "left": "d", "operator": "==", "right": "d"},
    ],
    ids=str,
)
def test_kept(given):
    assert results(given)[0]["verdict"] == "pass"


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ({"kind": "column", "column": "zz"}, "The table has no column 'zz'."),
        ({"kind": "column", "column": "a", "dtype": "text"}, "The column 'a' is of type int64, not text."),
        ({"kind": "range", "column": "s", "maximum": 1}, "The column 's' is of type string, not number."),
        ({"kind": "compare", "left": "a", "operator": "<", "right": "s"}, "cannot be compared"),
        ({"kind": "row_count", "minimum": 6}, "The table has 5 rows."),
        ({"kind": "row_count", "maximum": 4}, "The table has 5 rows."),
    ],
)
def test_what_no_row_can_mend_is_said(given, problem):
    found = results(given)[0]
    assert found["verdict"] == "fail"
    assert problem in found["problem"]


def test_a_warning_is_told_and_refuses_nothing():
    found = results({"kind": "not_null", "column": "a", "severity": "warning"})
    refuse_failures(found)
    assert list_expectation_warnings(found) == ["The expectation 1 (not_null a) does not hold: 1 of 5 rows break it."]


def test_an_error_names_the_expectation_its_rows_and_the_way_out():
    kept, broken = {"kind": "not_null", "column": "m"}, {"kind": "range", "column": "a", "maximum": 1}
    with pytest.raises(EngineError) as refused:
        refuse_failures(results(kept, broken, {"kind": "not_null", "column": "a"}))
    error = refused.value
    assert (error.code, error.field, error.limit) == ("expectation_failed", "/expectations/1", "range a: <= 1")
    assert error.value == "row 2: 2; row 4: 200; row 5: 2"
    assert "3 of 4 rows break it. The first: row 2: 2; row 4: 200; row 5: 2. 1 more fail." in error.message


def test_values_of_a_masked_column_are_not_shown():
    for given in ({"kind": "range", "column": "a", "maximum": 1}, {"kind": "unique", "columns": ["a"]}):
        found = results(given, masked={"a"})[0]
        assert {each["value"] for each in found["first"]} == {REDACTED}


def test_only_the_first_rows_are_told():
    many = pa.table({"a": [1] * 1000})
    found = results({"kind": "range", "column": "a", "maximum": 0}, table=TableBatches(many, 3))[0]
    assert (found["broken"], len(found["first"])) == (1000, 5)


def test_pandera_reads_what_it_can_express():
    schema = build_pandera_schema(parse_expectations(json.dumps([given for given, _, _ in BROKEN[:3]])))
    assert list(schema.columns) == ["a", "b", "m"]
    assert "in_range" in schema.to_json()


def test_a_problem_has_a_message_id():
    fewer = {"kind": "row_count", "minimum": 9}
    absent = {"kind": "not_null", "column": "nix"}
    other = {"kind": "column", "column": "x", "dtype": "text"}
    table = pa.table({"x": [1, 2]})
    problems = [
        one["problem"] for one in check_expectations(table, parse_expectations(json.dumps([fewer, absent, other])))
    ]
    assert problems == [
        "The table has 2 rows.",
        "The table has no column 'nix'.",
        "The column 'x' is of type int64, not text.",
    ]
    assert [problem.msgid for problem in problems] == [
        "The table has {rows:,} rows.",
        "The table has no column {name!r}.",
        "The column {name!r} is of type {kind}, not {expected}.",
    ]
