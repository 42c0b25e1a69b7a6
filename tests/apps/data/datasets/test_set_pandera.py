"""PUT expectations/pandera: a schema of pandera becomes what a dataset expects, whole or not at all."""

from __future__ import annotations

import json

import pytest

from apps.data.datasets.quality.pandera_schemas import MAX_SCHEMA_BYTES
from apps.platform.audit.models import AuditRecord

pytestmark = pytest.mark.django_db
URL = "/api/v1/projects/demo/datasets/wti-daily/expectations/pandera"
SCHEMA = """
schema_type: dataframe
version: 0.35.0
columns:
  day: {dtype: 'datetime64[ns]', greater_than_or_equal_to: 2020-01-31}
  close:
    dtype: float64
    nullable: true
    checks:
      in_range: {min_value: 0, max_value: 200, options: {raise_warning: true}}
"""
MADE = ["column", "not_null", "date_range", "column", "range"]


@pytest.fixture
def put(api, engineer, dataset):
    """put(text, media type) -> the answer; with a token of the engineer."""

    def send(body, kind="application/yaml", who=None):
        return api(who or engineer).put(URL, data=body, content_type=kind)

    return send


@pytest.mark.parametrize("kind", ["application/yaml", "application/x-yaml", "text/yaml; charset=utf-8"])
def test_a_schema_in_yaml(put, dataset, kind):
    answer = put(SCHEMA, kind)
    dataset.refresh_from_db()
    assert (answer.status_code, answer.json()) == (200, {"expectations": dataset.expectations})
    assert [one["kind"] for one in dataset.expectations] == MADE
    assert (dataset.expectations[2]["earliest"], dataset.expectations[4]["severity"]) == ("2020-01-31", "warning")
    assert AuditRecord.objects.filter(action="dataset.set_expectations").count() == 1


def test_the_same_in_json(put, dataset):
    schema = {"columns": {"close": {"dtype": "float64", "nullable": True}}}
    assert put(json.dumps(schema), "application/json").json()["expectations"][0]["dtype"] == "float"


def test_an_unknown_check_is_named_and_nothing_is_set(put, dataset):
    error = put("columns: {close: {dtype: float64, my_check: 1}, day: {notin: [1]}}").json()["error"]
    dataset.refresh_from_db()
    assert (error["code"], error["field"]) == ("pandera_not_taken", "/columns/close/my_check")
    assert [row["message"].split()[2] for row in error["errors"]] == ["my_check", "notin"]
    assert "greater_than_or_equal_to" in error["limit"]
    assert dataset.expectations == []


def test_what_no_expectation_may_be_is_refused_by_its_rules(put):
    answer = put("columns: {close: {nullable: true, in_range: {min_value: 2, max_value: 1}}}")
    assert (answer.status_code, answer.json()["error"]["field"]) == (422, "/expectations/1")


WRONG_YAML = [
    "columns: !!python/object/apply:os.system ['true']",
    "a: &a [1, 1]\ncolumns: {b: *a}",
    "columns: {a: {}, a: {}}",
    "columns: [",
    "[" * 100_000,
    'columns: {a: {isin: ["\\0"]}}',
    b"\xff\xfe\x00",
    "columns: {? [1] : 2}",
    "columns: !!map {}",
    "columns: {a: {default: !!int ''}}",
    "columns: {a: {<<: {dtype: int64}}}",
    "a: " + "1:" * 300 + "1.5",
]


def test_yaml_beyond_plain_values_is_refused(put):
    answers = [(answer.status_code, answer.json()["error"]["code"]) for answer in map(put, WRONG_YAML)]
    assert answers == [(400, "malformed_yaml")] * len(WRONG_YAML)


def test_nothing_is_left_out_silently(put):
    fields = {"default: 0": "default", "default: ''": "default", "parsers: {strip: true}": "parsers"}
    for said, field in fields.items():
        error = put(f"columns: {{close: {{dtype: float64, {said}}}}}").json()["error"]
        assert (error["code"], error["field"]) == ("pandera_not_taken", f"/columns/close/{field}")


def test_what_stands_for_every_column_and_flags_of_a_pattern(put, dataset):
    answer = put("coerce: true\nindex: []\ncolumns: {close: {dtype: float64, nullable: true, str_matches: '(?i)ab'}}")
    found = answer.json()["expectations"]
    assert (found[0]["dtype"], found[1]["pattern"]) == ("number", "(?i)^(?:ab)")


def test_no_more_faults_are_named_than_anybody_reads(put):
    many = ", ".join(f"check_{n}: 1" for n in range(200))
    assert len(put(f"columns: {{close: {{{many}}}}}").json()["error"]["errors"]) == 100


def test_a_schema_is_bounded(put):
    assert put("#" * (MAX_SCHEMA_BYTES + 1)).status_code == 413


def test_who_may(put, viewer, stranger):
    assert put(SCHEMA, who=viewer).status_code == 403
    assert put(SCHEMA, who=stranger).status_code == 404
