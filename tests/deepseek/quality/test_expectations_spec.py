"""What cannot be an expectation is refused, with the field that is wrong."""

import pytest
from pydantic import ValidationError

from deepseek.clean.spec import CleanSpec
from deepseek.quality.expectations_spec import Expectations

REFUSED = [
    ({"kind": "range", "column": "a"}, "at least one of the two limits"),
    ({"kind": "range", "column": "a", "minimum": 2, "maximum": 1}, "above the upper one"),
    ({"kind": "range", "column": "a", "minimum": float("nan")}, "finite number"),
    ({"kind": "unique", "columns": []}, "at least 1 item"),
    ({"kind": "unique", "columns": ["a", "a"]}, "named more than once"),
    ({"kind": "matches", "column": "a", "pattern": "("}, "This is no pattern"),
    ({"kind": "date_range", "column": "a", "latest": "31.12.2020"}, "A day is written as"),
    ({"kind": "compare", "left": "a", "operator": "~", "right": "b"}, "Input should be"),
    ({"kind": "not_null", "column": "a", "max_share": 1}, "less than 1"),
    ({"kind": "not_null", "column": "a", "severity": "fatal"}, "Input should be"),
    ({"kind": "guess"}, "does not match any of the expected tags"),
    ({"column": "a"}, "Unable to extract tag"),
]


def test_what_cannot_be_an_expectation_is_refused():
    wrong = []
    for given, part in REFUSED:
        with pytest.raises(ValidationError) as caught:
            Expectations(expectations=[given])
        if part not in str(caught.value):
            wrong.append((given, str(caught.value)))
    assert wrong == []


def test_a_clean_spec_has_none_unless_given():
    assert CleanSpec().expectations == []
    given = {"kind": "row_count", "minimum": 1}
    assert CleanSpec(expectations=[given]).expectations[0].minimum == 1
