"""A list typed as text: one entry a line, or between commas; in double quotes an entry may be empty or hold a comma."""

from __future__ import annotations

import re
from typing import Any

ITEM = re.compile(r'\s*"((?:[^"]|"")*)"\s*(?=[,\n]|$)|([^,\n]+)')


def split(text: str) -> list[str]:
    """The entries of a list typed as text; in double quotes an entry may be empty or hold a comma."""
    found = []
    for match in ITEM.finditer(text.replace("\r\n", "\n")):
        if match[1] is not None:
            found.append(match[1].replace('""', '"'))
        elif match[2].strip():
            found.append(match[2].strip())
    return found


def joined(values: list[Any]) -> str:
    """The text that `split` reads back."""
    return "\n".join(quoted(str(value)) for value in values)


def quoted(text: str) -> str:
    if text and text == text.strip() and not set(text) & set(',"\n'):
        return text
    return '"' + text.replace('"', '""') + '"'
