"""The body parser: what is refused, and that it says where."""

from __future__ import annotations

import io

import pytest

from apps.core.errors import Malformed, TooLarge
from controlplane.rest import Negotiation, StrictJSONParser, read_json


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (b'{"a": [1, 2.5, null, true, "\xe6\x95\xb0"]}', {"a": [1, 2.5, None, True, "数"]}),
        (b"[" * 150 + b"]" * 150, None),
        (b'"\\\\u0000"', "\\u0000"),
        (b'[{"a": 1}, {"a": 2}]', [{"a": 1}, {"a": 2}]),
        (b"12345678901234567890123", 12345678901234567890123),
    ],
)
def test_good_json(text, value):
    assert read_json(text) == value or value is None


@pytest.mark.parametrize(
    ("text", "where"),
    [
        (b"", "column 0"),
        (b'{"a": ', "column 6"),
        (b'{"a": 1} x', "column 10"),
        (b'{"a": NaN}', "column 7"),
        (b"-Infinity", "column 2"),
        (b"1e999", "1e999"),
        (b"[" * 100_000, "recursion limit"),
        (b'{"a":' * 100_000, "recursion limit"),
        (b'{"a": 1, "b": {"c": 1, "c": 2}}', "'c' stands twice"),
        (b'{"a": ["x\\u0000"]}', "NUL"),
        (b'{"\\u0000": 1}', "NUL"),
        (b'"\\ud800"', "line 1"),
        (b"\xff", "column 1"),
        (b"9" * 5000, "out of range"),
    ],
)
def test_bad_json_names_the_place(text, where):
    with pytest.raises(Malformed, match=where) as refused:
        read_json(text)
    assert refused.value.code == "malformed_json"


@pytest.mark.parametrize(("size", "fits"), [(100, True), (101, False)])
def test_the_size_limit_is_exact(settings, size, fits):
    settings.DATA_UPLOAD_MAX_MEMORY_SIZE = 100
    body = io.BytesIO(b'"' + b"x" * (size - 2) + b'"')
    if fits:
        assert StrictJSONParser().parse(body) == "x" * (size - 2)
    else:
        with pytest.raises(TooLarge) as refused:
            StrictJSONParser().parse(body)
        assert refused.value.limit == 100


@pytest.mark.parametrize(
    ("content_type", "taken"),
    [("", True), ("application/json", True), ("application/json;charset=UTF-8", True), ("text/xml", False)],
)
def test_which_bodies_are_json(rf, content_type, taken):
    parser = StrictJSONParser()
    request = rf.generic("POST", "/", b"{}", content_type=content_type)
    assert (Negotiation().select_parser(request, [parser]) is parser) == taken
