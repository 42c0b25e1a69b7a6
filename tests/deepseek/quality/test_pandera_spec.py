"""What a pandera schema says, as expectations: by real schemas that pandera writes."""

from __future__ import annotations

import json

import pandera.pandas as pandera
import pytest
import yaml
from pandera.pandas import Check, Column

from deepseek.quality.expectation_schema import build_pandera_schema
from deepseek.quality.expectations_spec import Expectations
from deepseek.quality.pandera_spec import UnsupportedSchemaError, convert_pandera_schema


def said(columns, **more):
    """The expectations of a schema, the same by YAML and by JSON."""
    schema = pandera.DataFrameSchema(columns, **more)
    made = convert_pandera_schema(json.loads(schema.to_json()))
    assert made == convert_pandera_schema(yaml.safe_load(schema.to_yaml()))
    Expectations.model_validate({"expectations": made})
    return made


def one(dtype, check):
    """What one check of a column says."""
    found = said({"a": Column(dtype, [check], nullable=True)})
    assert found[0]["kind"] == "column"
    assert len(found) == 2
    return {name: value for name, value in found[1].items() if name != "column"}


def test_columns_types_and_keys():
    made = said(
        {"a": Column(int, unique=True), "b": Column(str, nullable=True), "c": Column("datetime64[ns]", nullable=True)},
        unique=["a", "b"],
    )
    assert made == [
        {"kind": "column", "column": "a", "dtype": "integer"},
        {"kind": "not_null", "column": "a"},
        {"kind": "unique", "columns": ["a"]},
        {"kind": "column", "column": "b", "dtype": "text"},
        {"kind": "column", "column": "c", "dtype": "date"},
        {"kind": "unique", "columns": ["a", "b"]},
    ]


CHECKS = [
    (float, Check.ge(0), {"kind": "range", "minimum": 0, "maximum": None}),
    (float, Check.le(5), {"kind": "range", "minimum": None, "maximum": 5}),
    (int, Check.gt(0), {"kind": "range", "minimum": 1, "maximum": None}),
    (int, Check.in_range(0, 9, include_max=False), {"kind": "range", "minimum": 0, "maximum": 8}),
    (float, Check.in_range(1, 2), {"kind": "range", "minimum": 1, "maximum": 2}),
    (str, Check.isin(["x"]), {"kind": "one_of", "values": ["x"]}),
    (int, Check.eq(3), {"kind": "one_of", "values": [3]}),
    (str, Check.str_matches("a|b"), {"kind": "matches", "pattern": "^(?:a|b)"}),
    (str, Check.str_matches("^a$"), {"kind": "matches", "pattern": "^a$"}),
    (str, Check.str_contains("b"), {"kind": "matches", "pattern": "b"}),
    (str, Check.str_startswith("a."), {"kind": "matches", "pattern": "^a\\."}),
    (str, Check.str_endswith("z"), {"kind": "matches", "pattern": "z$"}),
    (str, Check.str_length(1, 5), {"kind": "length", "minimum": 1, "maximum": 5}),
    (str, Check.str_length(exact_value=5), {"kind": "length", "minimum": 5, "maximum": 5}),
    ("datetime64[ns]", Check.ge("2020-01-31"), {"kind": "date_range", "earliest": "2020-01-31", "latest": None}),
    (float, Check.ge(0, raise_warning=True, error="a price"),
     {"kind": "range", "minimum": 0, "maximum": None, "severity": "warning", "note": "a price"}),
]  # fmt: skip


def test_each_check_that_is_taken():
    assert [(dtype, check, one(dtype, check)) for dtype, check, _ in CHECKS] == CHECKS


def test_what_the_plane_writes_comes_back():
    given = [
        {"kind": "not_null", "column": "a"},
        {"kind": "range", "column": "a", "minimum": 0.0, "maximum": 9.0},
        {"kind": "matches", "column": "b", "pattern": "^x"},
        {"kind": "unique", "columns": ["a", "b"]},
    ]
    schema = build_pandera_schema(Expectations.model_validate({"expectations": given}).expectations)
    made = convert_pandera_schema(json.loads(schema.to_json()))
    assert [each for each in made if each["kind"] != "column"] == given


REFUSED = [
    ({"columns": {"a": {"notin": [1]}}}, "/columns/a/notin", "notin of the column 'a' is not known"),
    ({"columns": {"a": {"checks": {"mine": 1}}}}, "/columns/a/checks/mine", "The check mine"),
    ({"columns": {"a": {"checks": [{"options": {"check_name": "mine"}}]}}}, "/columns/a/checks/0", "check mine"),
    ({"columns": {"a": {}}, "checks": {"mine": 1}}, "/checks/mine", "of the whole table"),
    ({"columns": {"a/b": {"dtype": "category"}}}, "/columns/a~1b/dtype", "'category'"),
    ({"columns": {"a": {"regex": True}}}, "/columns/a/regex", "regex"),
    ({"columns": {"a": {"required": False}}}, "/columns/a/required", "may be absent"),
    ({"columns": {"a": {"dtype": "float64", "less_than": 1}}}, "/columns/a/less_than", "leaves a limit out"),
    ({"columns": {"a": {"in_range": {"min_value": 1}}}}, "/columns/a/in_range", "cannot be read"),
    ({"columns": {"a": {"in_range": {"min_value": "x", "max_value": 1}}}}, "/columns/a/in_range", "a whole day"),
    ({"columns": {"a": {"isin": {"value": [1], "groupby": "b"}}}}, "/columns/a/isin", "groupby"),
    ({"columns": {"a": None}}, "/columns/a", "an object"),
    ({"columns": {"a": {"checks": 1}}}, "/columns/a/checks", "neither"),
    ({"columns": {"a": {}}, "strict": True}, "/strict", "other columns"),
    ({"columns": {"a": {}}, "index": [{"dtype": "int64"}]}, "/index", "an index"),
    ({"columns": {"a": {}}, "schema_type": "series"}, "/schema_type", "of the type 'series'"),
    ({"columns": [{"name": "a"}]}, "/columns", "no columns by name"),
    ([], "", "no schema"),
]  # fmt: skip


def test_what_cannot_be_expressed_is_refused_by_name():
    wrong = []
    for schema, field, part in REFUSED:
        with pytest.raises(UnsupportedSchemaError) as refused:
            convert_pandera_schema(schema)
        first = refused.value.faults[0]
        if first.field != field or part not in first.message:
            wrong.append((schema, first.field, first.message))
    assert wrong == []


def test_every_fault_is_told():
    with pytest.raises(UnsupportedSchemaError) as refused:
        convert_pandera_schema({"columns": {"a": {"notin": [1], "mine": 2}}, "ordered": True})
    assert [fault.field for fault in refused.value.faults] == ["/ordered", "/columns/a/notin", "/columns/a/mine"]
