"""What is wrong with a spec is told in time linear in its length, and not more of it than anybody reads."""

from __future__ import annotations

import pytest
from pydantic import BaseModel

from apps.core.errors import Invalid
from apps.platform.jobs.kinds import KINDS
from apps.platform.jobs.spec_validation import MAX_ERRORS, parse_model


class Inner(BaseModel):
    a: int


class Outer(BaseModel):
    inner: Inner | int
    other: int


def refusal(model: type[BaseModel], given: dict) -> Invalid:
    with pytest.raises(Invalid) as raised:
        parse_model(model, given, strict=False, prefix="/spec")
    return raised.value


def test_a_parent_is_left_out_where_a_child_has_an_error():
    fields = [error["field"] for error in refusal(Outer, {"inner": {"a": "x"}, "other": "x"}).errors]
    assert fields == ["/spec/inner/a", "/spec/other"]


def test_a_group_that_was_given_is_not_shown_as_python_has_it():
    """A plan of steps and a simple field exclude each other."""
    given = {"outliers": {"method": "robust_z"}, "steps": [{"kind": "normalise_text", "columns": None}]}
    error = refusal(KINDS["clean"].spec, given)
    assert [one["message"] for one in error.errors if "(got" in one["message"]] == []
    assert "(got 'x')" in refusal(Outer, {"inner": 1, "other": "x"}).message


@pytest.mark.timeout(20, func_only=True)
def test_many_errors_are_found_at_once():
    """40,000 unknown fields took 105 s, and would have filled an answer of 10 MB."""
    error = refusal(KINDS["clean"].spec, {"outliers": {f"k{number}": 1 for number in range(40_000)}})
    assert len(error.errors) == MAX_ERRORS
    assert {one["code"] for one in error.errors} == {"spec_extra_forbidden"}


@pytest.mark.timeout(20, func_only=True)
def test_many_repeated_names_are_found_at_once():
    """25 steps of 10,000 equal columns took 17 s."""
    step = {"step": "drop_columns", "columns": ["x"] * 9_000}
    error = refusal(KINDS["clean"].spec, {"steps": [step] * 25})
    assert error.errors
