"""LIKE in any case beyond ASCII, where SQLite has only regular expressions."""

from __future__ import annotations

import re

import pytest
from django.db import connection

from apps.ml.experiments.filters.grammar import FilterError
from apps.ml.experiments.filters.sql import build_ilike, convert_like_to_regex


@pytest.mark.parametrize(
    ("pattern", "text", "expected"),
    [
        ("é%", "Éa\nb", True),
        ("%é", "aé", True),
        ("%é", "éa", False),
        ("é", "éa", False),
        ("%", "", True),
        ("%%é%%", "aÉb", True),
        ("é_%b%b", "éabb", True),
        ("é_%b%b", "éab", False),
        ("%éa%éa", "éaéa", True),
        ("%é.%", "éa", False),
        ("%ab%é", "ababé", True),
    ],
)
def test_a_pattern_as_a_regular_expression(pattern, text, expected):
    assert (re.search(convert_like_to_regex(pattern), text) is not None) == expected


@pytest.mark.skipif(connection.vendor != "sqlite", reason="PostgreSQL knows every case itself")
def test_a_long_pattern_beyond_ascii_is_refused():
    assert build_ilike("x", "é" * 1000)
    assert build_ilike("x", "e" * 8000)
    with pytest.raises(FilterError, match="1001 characters, at most 1000"):
        build_ilike("x", "é" * 1001)


def test_many_wildcards_do_not_try_every_way():
    assert re.search(convert_like_to_regex("%é%é%é%é%z"), "é" * 8000) is None
    assert re.search(convert_like_to_regex("%é" * 4000), "é" * 8000) is not None
