"""What the check refuses and what passes: time that grows with the square of a text, or doubles with each letter."""

from __future__ import annotations

import re

import pytest

from tests.patterns import ambiguity
from tests.patterns.ambiguity import Growth, Method, TooLarge, find_ambiguity

MATCH, FULLMATCH, SEARCH = Method
EXPONENTIAL, POLYNOMIAL, LINEAR = Growth.EXPONENTIAL, Growth.POLYNOMIAL, None

NUMBER_OF_FILTERS = r"-?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?(?![\w.])"
NUMBER_OF_CELLS = r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?|[+-]?inf"
ITEM_OF_LISTS = r'\s*"((?:[^"]|"")*)"\s*(?=[,\n]|$)|([^,\n]+)'

CASES = [
    # the three that stopped a process, and what they became
    (NUMBER_OF_FILTERS, 0, MATCH, POLYNOMIAL),
    (NUMBER_OF_FILTERS.replace(r"\d+\.?\d*", r"\d+(?:\.\d*)?"), 0, MATCH, LINEAR),
    (NUMBER_OF_CELLS, re.IGNORECASE, FULLMATCH, POLYNOMIAL),
    (NUMBER_OF_CELLS.replace(r"\.?[0-9]*|", r"(\.[0-9]*)?|"), re.IGNORECASE, FULLMATCH, LINEAR),
    (ITEM_OF_LISTS, 0, SEARCH, POLYNOMIAL),
    # two ways through a loop
    (r"(a+)+b", 0, MATCH, EXPONENTIAL),
    (r"(?:a*)*b", 0, MATCH, EXPONENTIAL),
    (r"(a|aa)+$", 0, MATCH, EXPONENTIAL),
    (r"(a|b|ab)*c", 0, MATCH, EXPONENTIAL),
    (r"(?:(?:x?|y?)z)*w", 0, MATCH, EXPONENTIAL),
    (r"(?:\d{1,18}\d{1,18})*x", 0, MATCH, EXPONENTIAL),
    (r"(?:a|Ab?)*c", re.IGNORECASE, MATCH, EXPONENTIAL),
    (r"(?:a|Ab?)*c", 0, MATCH, LINEAR),
    (r"(?:a|b)*c", 0, MATCH, LINEAR),
    (r"(?:[0-9a-f]{32},)*x", 0, MATCH, LINEAR),
    (rb"(a+)+b", 0, MATCH, EXPONENTIAL),
    # loops behind each other
    (r"a.*b.*c", 0, MATCH, POLYNOMIAL),
    (r"a[^b]*b[^c]*c", 0, MATCH, LINEAR),
    (r"\s*#?\s*x", 0, MATCH, POLYNOMIAL),
    (r"\s*(?:#\s*)?x", 0, MATCH, LINEAR),
    (r"\d{1,18}\d{1,18}x", 0, MATCH, LINEAR),
    (r"\d{1,900}\d{1,900}x", 0, MATCH, POLYNOMIAL),
    # a search begins at every place
    (r"\s+$", 0, SEARCH, POLYNOMIAL),
    (r"\s+$", 0, MATCH, LINEAR),
    (r"(?<!\s)\s+$", 0, SEARCH, LINEAR),
    (r"^(\s*)#", re.MULTILINE, SEARCH, POLYNOMIAL),
    (r"^([^\S\n]*)#", re.MULTILINE, SEARCH, LINEAR),
    (r"(?=.*x)a", 0, SEARCH, POLYNOMIAL),
    (r"<[^>]*>", 0, SEARCH, POLYNOMIAL),
    (r"<[^<>]*>", 0, SEARCH, LINEAR),
    (r"[^,\n]+", 0, SEARCH, LINEAR),
    (r"\w++=", 0, SEARCH, POLYNOMIAL),
    (r"(?<!\w)\w++=", 0, SEARCH, LINEAR),
    # a match that has succeeded already, or cannot fail any more, costs nothing more
    (r"\d+\.?\d*", 0, MATCH, LINEAR),
    (r"\s*.*", re.DOTALL, FULLMATCH, LINEAR),
    (r"\s*.*", 0, FULLMATCH, POLYNOMIAL),
    # a loop that gives nothing back
    (r"\w*\w*=", 0, MATCH, POLYNOMIAL),
    (r"\w*+\w*=", 0, MATCH, LINEAR),
    (r"(?>\w*)\w*=", 0, MATCH, LINEAR),
    # what a group took
    (r"<(?P<tag>a|b).*?</(?P=tag)>", re.DOTALL, SEARCH, POLYNOMIAL),
]


def test_growth_of_every_form() -> None:
    wrong = {}
    for pattern, flags, method, expected in CASES:
        found = find_ambiguity(pattern, flags, method)
        if (found and found.growth) != expected:
            wrong[pattern, method] = found
    assert wrong == {}


def test_a_pattern_too_large_to_judge_is_said_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ambiguity, "POSITIONS", 20)
    with pytest.raises(TooLarge):
        find_ambiguity("a?b" * 20, 0, MATCH)
