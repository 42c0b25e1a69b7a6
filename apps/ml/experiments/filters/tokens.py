"""A filter's text in tokens, as SQL has them: words with dots, quoted texts, numbers, comparators, parentheses."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

# Quotes inside quotes are doubled or follow a backslash, and stay as they stand: MLflow takes nothing out of them.
SINGLE = r"'(?:''|\\'|[^'])*'"
DOUBLE = r'"(?:""|\\"|[^"])*"'
BACKTICKS = r"`(?:``|[^`])*`"
NAME = rf"(?:[^\W\d]\w*|{BACKTICKS}|{DOUBLE})"
PATH = rf"{NAME}(?:\.(?:\w+|{BACKTICKS}|{DOUBLE}))*\.?"
NUMBER = r"-?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?(?![\w.])"
# Of a list the texts are Python's: a backslash takes the next character with it.
LISTED = r"""\((?:[^()'"]|'(?:\\.|[^'\\])*'|"(?:\\.|[^"\\])*")*\)"""

PATTERN = re.compile(
    rf"(?P<space>\s+)|(?P<text>{SINGLE})|(?P<number>{NUMBER})|(?P<path>{PATH})|(?P<sign>[<>=~!]+)|(?P<list>{LISTED})|(?P<odd>\w+|.)",
    re.DOTALL,
)
WORDS = frozenset({"AND", "OR", "NOT", "IN", "IS", "NULL", "LIKE", "ILIKE", "RLIKE"})


class TokenType(StrEnum):
    TEXT = "text"  # in single quotes
    NUMBER = "number"
    PATH = "path"  # a word, words with dots between, or a text in double quotes or backticks
    SIGN = "sign"
    LIST = "list"  # from one parenthesis to the other
    WORD = "word"  # of the language: AND, IN, LIKE
    ODD = "odd"


@dataclass(frozen=True, slots=True)
class Token:
    sort: TokenType
    text: str
    start: int
    end: int

    @property
    def word(self) -> str:
        """The word of the language that it is, in capitals, or "" ."""
        return self.text.upper() if self.sort == TokenType.WORD else ""


def tokenize(text: str, most: int | None = None) -> list[Token]:
    """Every token but the blanks, or the first `most`. Whatever the text, this ends, and nothing of it is lost."""
    tokens: list[Token] = []
    pairs: dict[int, int] | None = None
    at = 0
    while at < len(text):
        match = PATTERN.match(text, at)
        if match is None:  # cannot be: the last branch takes any character
            break
        sort, end = match.lastgroup or "odd", match.end()
        if sort == "odd" and text[at] == "(":
            pairs = match_parentheses(text) if pairs is None else pairs
            sort, end = ("list", pairs[at]) if at in pairs else ("odd", end)
        if sort == "path" and match[0].upper() in WORDS:
            sort = "word"
        if sort != "space":
            tokens.append(Token(TokenType(sort), text[at:end], at, end))
            if len(tokens) == most:
                break
        at = end
    return tokens


def match_parentheses(text: str) -> dict[int, int]:
    """Place of each parenthesis that is closed -> the place behind the one that closes it. In one pass."""
    opened: list[int] = []
    closings: dict[int, int] = {}
    for place, letter in enumerate(text):
        if letter == "(":
            opened.append(place)
        elif letter == ")" and opened:
            closings[opened.pop()] = place + 1
    return closings
