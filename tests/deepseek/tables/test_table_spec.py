"""Lists of names in specs hold each name once; every spec refuses a repeated one in the same words."""

import pytest
from pydantic import ValidationError

from deepseek.clean.spec import CleanSpec
from deepseek.diff.spec import DiffSpec
from deepseek.quality.expectations_spec import Expectations
from deepseek.tables.spec import CsvSpec, refuse_repeats
from deepseek.train.spec import TrainSpec

REPEATED = ["b", "a", "b", "a"]


@pytest.mark.parametrize("values", [None, [], ["a"], ["b", "a"]])
def test_names_without_repeats_are_returned_unchanged(values):
    assert refuse_repeats(values) is values


@pytest.mark.parametrize(
    ("spec", "given", "field"),
    [
        (CsvSpec, {"missing_tokens": REPEATED}, ("missing_tokens",)),
        (CleanSpec, {"columns": REPEATED}, ("columns",)),
        (CleanSpec, {"steps": [{"kind": "fill_median", "columns": REPEATED}]}, ("steps", 0, "fill_median", "columns")),
        (
            CleanSpec,
            {"steps": [{"kind": "fill_group", "columns": ["c"], "by": REPEATED}]},
            ("steps", 0, "fill_group", "by"),
        ),
        (
            Expectations,
            {"expectations": [{"kind": "unique", "columns": REPEATED}]},
            ("expectations", 0, "unique", "columns"),
        ),
        (TrainSpec, {"task": "regression", "target": "c", "features": REPEATED}, ("features",)),
        (DiffSpec, {"keys": REPEATED}, ("keys",)),
    ],
)
def test_a_repeated_name_is_refused_naming_the_first_in_order(spec, given, field):
    with pytest.raises(ValidationError) as caught:
        spec(**given)
    errors = [(error["type"], error["loc"], error["msg"]) for error in caught.value.errors()]
    assert errors == [("repeated", field, "'a' is named more than once.")]
