"""A list typed as text: one entry a line, or between commas; in double quotes an entry may be empty or hold a comma."""

from __future__ import annotations

import re
from typing import Any

SPACE = re.compile(r"\s*")
QUOTED = re.compile(r'"((?:[^"]|"")*+)"(\s*+)')
UNQUOTED = re.compile(r"[^,\n]+")


def split_entries(text: str) -> list[str]:
    """The entries of a list typed as text; in double quotes an entry may be empty or hold a comma.

    Blanks are skipped once and a quoted entry is read once, so the time is linear in the length of the text.
    """
    text = text.replace("\r\n", "\n")
    entries = []
    at = skip_space(text, 0)
    while at < len(text):
        quoted = QUOTED.match(text, at)
        if quoted and is_entry_end(text, quoted):
            entries.append(quoted[1].replace('""', '"'))
            at = quoted.end()
        elif unquoted := UNQUOTED.match(text, at):
            entries.append(unquoted[0].strip())
            at = unquoted.end()
        else:
            at += 1  # the comma between two entries
        at = skip_space(text, at)
    return entries


def skip_space(text: str, at: int) -> int:
    space = SPACE.match(text, at)
    return space.end() if space else at


def is_entry_end(text: str, quoted: re.Match[str]) -> bool:
    """Whether only blanks stand between the closing quote and a comma, a line feed or the end of the text."""
    return "\n" in quoted[2] or quoted.end() == len(text) or text[quoted.end()] == ","


def join_entries(values: list[Any]) -> str:
    """The text that `split` reads back."""
    return "\n".join(quote_entry(str(value)) for value in values)


def quote_entry(text: str) -> str:
    if text and text == text.strip() and not set(text) & set(',"\n'):
        return text
    return '"' + text.replace('"', '""') + '"'
