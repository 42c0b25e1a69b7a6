"""Columns that a plan masks, by their name at each step: errors, notes and reports never show their cells."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any


class EveryName(frozenset[str]):
    """All names: a mask step without columns hides every text column, and which those are is known too late."""

    def __contains__(self, name: object) -> bool:
        return True

    def __bool__(self) -> bool:
        return True


def find_masked_by_step(steps: Sequence[Any]) -> list[Collection[str]]:
    """Find the masked columns by their names before each step and after the last: one entry more than steps.

    A column counts before its mask as much as behind it: a step that refuses a cell quotes it raw.
    """
    names_by_step: list[set[str]] = [set() for _ in range(len(steps) + 1)]
    for number, step in enumerate(steps):
        if step.kind != "mask":
            continue
        if step.columns is None:
            return [EveryName()] * (len(steps) + 1)
        names = set(step.columns)
        names_by_step[number] |= names
        for before in range(number - 1, -1, -1):
            names_by_step[before] |= (names := _translate_names(names, steps[before], back=True))
        names = set(step.columns)
        for later in range(number, len(steps)):
            names_by_step[later + 1] |= (names := _translate_names(names, steps[later], back=False))
    return list(names_by_step)


def find_masked_columns(spec: Any) -> Collection[str]:
    """Find the masked columns of the result; a spec without a plan masks none."""
    return find_masked_by_step(getattr(spec, "steps", None) or [])[-1]


def _translate_names(names: set[str], step: Any, *, back: bool) -> set[str]:
    """Translate column names across a step, forwards or backwards."""
    translated = set(names)
    if step.kind == "rename":
        for renaming in reversed(step.names) if back else step.names:
            old, new = (renaming.name, renaming.column) if back else (renaming.column, renaming.name)
            if old in translated:
                translated = translated - {old} | {new}
    elif step.kind == "join" and back:  # a column of the second table, which has its own name there
        translated |= {name.removesuffix(step.suffix) for name in names}
    return translated
