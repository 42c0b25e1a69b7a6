"""Guess a column's type from its text, in Arrow's type names."""

from __future__ import annotations

import re
from collections.abc import Callable

DEFAULT_MISSING = ("", "NA", "N/A", "NaN", "nan", "null", "NULL", "None", ".", "#N/A")
MISSING = frozenset(DEFAULT_MISSING)
MAX_TYPED_CELL = 1_000  # characters; a longer cell is text, whatever it looks like

INTEGER = re.compile(r"[+-]?[0-9]{1,19}")
FLOAT = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?|[+-]?inf", re.IGNORECASE)
DATE = re.compile(r"[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])")
TIMESTAMP = re.compile(DATE.pattern + r"[ T]([01][0-9]|2[0-3]):[0-5][0-9](:[0-5][0-9](\.[0-9]+)?)?Z?")


def is_integer(cell: str) -> bool:
    return bool(INTEGER.fullmatch(cell)) and -(2**63) <= int(cell) < 2**63


# The first that every value allows wins, so the narrow ones stand first.
TYPES: dict[str, Callable[[str], object]] = {
    "int64": is_integer,
    "double": FLOAT.fullmatch,
    "bool": frozenset({"true", "false", "True", "False", "TRUE", "FALSE"}).__contains__,
    "date32[day]": DATE.fullmatch,
    "timestamp[s]": TIMESTAMP.fullmatch,
}


class ColumnTypeGuess:
    """The types that every cell so far allows."""

    __slots__ = ("candidates", "empty")

    def __init__(self) -> None:
        self.candidates = list(TYPES)
        self.empty = True

    def add_cell(self, cell: str) -> None:
        if cell in MISSING:
            return
        self.empty = False
        if self.candidates:
            short = len(cell) <= MAX_TYPED_CELL
            self.candidates = [name for name in self.candidates if TYPES[name](cell)] if short else []

    @property
    def dtype(self) -> str:
        """ "null" where nothing but missing values was seen, "string" where no narrower type holds them all."""
        if self.empty:
            return "null"
        return self.candidates[0] if self.candidates else "string"
