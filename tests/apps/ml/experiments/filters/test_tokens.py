"""A filter is cut into tokens in time linear in its length, whatever it says."""

from __future__ import annotations

import pytest

from apps.ml.experiments.filters.tokens import TokenType, tokenize

NUMBERS = {"1": "1", "-1.5e-3": "-1.5e-3", "1.": "1.", ".5": ".5", "1e5": "1e5"}
NO_NUMBERS = ("1x", "1.2.3", "1e", "1.5e-3y", "-")
HOSTILE = (
    "1",
    "1.",
    ".1",
    "1e",
    "-",
    "a.",
    "'",
    "''",
    "\\'",
    '"',
    '""',
    "`",
    "(",
    "('",
    ")",
    "(a)",
    "[",
    "=",
    " ",
    "é",
)


def test_numbers() -> None:
    assert {text: tokenize(text)[0].text for text in NUMBERS} == NUMBERS
    assert [text for text in NO_NUMBERS if tokenize(text)[0].sort == TokenType.NUMBER] == []


@pytest.mark.timeout(10, func_only=True)
def test_a_long_filter_is_read_at_once() -> None:
    """20,000 digits and a letter took 9.8 s."""
    for unit in HOSTILE:
        text = f"metrics.a > {unit * (20_000 // len(unit))}x"
        assert "".join(token.text for token in tokenize(text)).replace(" ", "") == text.replace(" ", "")
