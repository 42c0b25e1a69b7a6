"""What differs between two environments."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

SECTIONS = ("python", "packages", "system", "drivers", "firmware")
"""The parts of a document; each is a mapping of names to texts."""


@dataclass(frozen=True, slots=True)
class EnvironmentDifference:
    """One name of one section; an empty text: it is not there, or was not reported."""

    section: str
    name: str
    left: str
    right: str

    @property
    def kind(self) -> str:
        return "added" if not self.left else "removed" if not self.right else "changed"


@dataclass(frozen=True, slots=True)
class EnvironmentComparison:
    """`unreported`: sections that one side says nothing of, so that nothing can be told."""

    differences: tuple[EnvironmentDifference, ...]
    equal: int
    unreported: tuple[str, ...]


def compare_environments(
    left: Mapping[str, Any], right: Mapping[str, Any], *, partial: tuple[str, ...] = ()
) -> EnvironmentComparison:
    """Compare two documents. In the sections of `partial` one side lists only some names: others are not compared."""
    differences, equal, unreported = [], 0, []
    for section in SECTIONS:
        before, after = read_section(left, section), read_section(right, section)
        if not before and not after:
            continue
        if not before or not after:
            unreported.append(section)
            continue
        names = before.keys() & after.keys() if section in partial else before.keys() | after.keys()
        for name in sorted(names):
            values = before.get(name, ""), after.get(name, "")
            if values[0] == values[1]:
                equal += 1
            else:
                differences.append(EnvironmentDifference(section, name, *values))
    return EnvironmentComparison(tuple(differences), equal, tuple(unreported))


def read_section(document: Mapping[str, Any], section: str) -> dict[str, str]:
    """The section, without names that have no text; a document is another's word, so nothing is taken for sure."""
    found = document.get(section)
    if not isinstance(found, Mapping):
        return {}
    return {str(name): str(value) for name, value in found.items() if value not in ("", None)}
