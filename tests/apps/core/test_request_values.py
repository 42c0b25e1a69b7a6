"""What requests send as a whole number or as one of a few choices, and what is wrong with it."""

import pytest

from apps.core.errors import Invalid
from apps.core.request_values import parse_int, validate_choice


@pytest.mark.parametrize(
    ("text", "number"),
    [
        *(("7", 7), ("007", 7), ("-3", -3), ("10", 10)),
        *(
            (text, None)
            for text in ("", " 7", "7\n", "+7", "1_0", "\u0663", "\u00b2", "7.0", "1e1", "0x1", "--7", "nan")
        ),
        *((text, None) for text in ("11", "-11", "9" * 5000)),
        (None, None),
    ],
)
def test_a_whole_number_is_ascii_digits_within_its_bounds(text, number):
    assert parse_int(text, -10, 10) == number


def test_without_bounds_a_number_is_that_of_a_row():
    assert [parse_int(text) for text in ("0", "9223372036854775807", "9223372036854775808", "-1")] == [
        *(0, 2**63 - 1),
        *(None, None),
    ]


@pytest.mark.parametrize("value", ["", "a"])
def test_a_choice_or_none_is_taken(value):
    validate_choice("state", value, ("a", "b"))


@pytest.mark.parametrize(("value", "required"), [("c" * 50, False), ("", True)])
def test_what_is_no_choice_names_field_value_and_choices(value, required):
    with pytest.raises(Invalid) as refused:
        validate_choice("state", value, ("", "a", "b") if not required else ("a", "b"), required=required, code="odd")
    error = refused.value.first()
    assert (error["code"], error["field"], error["limit"]) == ("odd", "state", "a, b")
    assert error["message"] == f"There is no state {value[:40]!r}."
