"""The spec: defaults, limits, and errors that name their field."""

import json

import pytest
from pydantic import BaseModel, ValidationError

from deepseek.clean.spec import CleanSpec
from deepseek.noop.spec import NoopSpec


def faults(document):
    with pytest.raises(ValidationError) as caught:
        CleanSpec.model_validate_json(json.dumps(document), strict=True)
    return {"/".join(map(str, fault["loc"])): fault["type"] for fault in caught.value.errors()}


FAULTS = [
    ({"window_size": 0}, "window_size", "greater_than_equal"),
    ({"window_size": 100_002}, "window_size", "less_than_equal"),
    ({"window_size": "5"}, "window_size", "int_type"),
    ({"window": 5}, "window", "extra_forbidden"),
    ({"columns": []}, "columns", "too_short"),
    ({"columns": ["a", "a"]}, "columns", "repeated"),
    ({"columns": [""]}, "columns/0", "string_too_short"),
    ({"fill": "mean"}, "fill", "literal_error"),
    ({"outliers": {"threshold": 2.0}}, "outliers/threshold", "needs_method"),
    ({"outliers": {"method": "iqr", "threshold": 0}}, "outliers/threshold", "greater_than"),
    ({"csv": {"delimiter": ";;"}}, "csv/delimiter", "string_too_long"),
    ({"csv": {"delimiter": '"'}}, "csv/delimiter", "delimiter"),
    ({"csv": {"encoding": "latin-1"}}, "csv/encoding", "literal_error"),
    ({"csv": {"missing_tokens": ["-", "-"]}}, "csv/missing_tokens", "repeated"),
]


def test_each_fault_names_its_field():
    named = [(document, *fault) for document, _, _ in FAULTS for fault in faults(document).items()]
    assert named == FAULTS


def test_all_faults_come_at_once():
    found = faults({"window_size": 0, "outliers": {"action": "x", "threshold": 1}, "csv": {"delimiter": ""}})
    assert set(found) == {"window_size", "outliers/action", "outliers/threshold", "csv/delimiter"}


@pytest.mark.parametrize(("method", "given", "limit"), [("iqr", None, 1.5), ("robust_z", None, 3.5), ("iqr", 3.0, 3.0)])
def test_threshold_in_force(method, given, limit):
    assert CleanSpec(outliers={"method": method, "threshold": given}).outliers.limit() == limit


def test_spec_round_trips_and_is_frozen():
    spec = CleanSpec(columns=["a"], outliers={"method": "iqr"})
    assert CleanSpec.model_validate_json(spec.model_dump_json(), strict=True) == spec
    with pytest.raises(ValidationError):
        spec.window_size = 7


@pytest.mark.parametrize("model", [CleanSpec, NoopSpec])
def test_every_field_is_described(model):
    def check(spec: type[BaseModel]):
        assert spec.__doc__
        assert spec.model_config["extra"] == "forbid"
        assert spec.model_config["frozen"]
        for name, field in spec.model_fields.items():
            assert field.title, name
            assert field.description.endswith("."), name
            if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
                check(field.annotation)

    check(model)
