"""Which columns a plan masks, by the name that each has at each step: no error, note or report shows their cells."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any


class EveryName(frozenset[str]):
    """Every name there is: what a mask that names no column hides, for which columns hold text is seen too late."""

    def __contains__(self, name: object) -> bool:
        return True

    def __bool__(self) -> bool:
        return True


def find_masked_by_step(steps: Sequence[Any]) -> list[Collection[str]]:
    """The masked columns as they are called before each step, and behind the last: one more than there are steps.

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
    """The columns of what comes out that a step has masked; of a spec without a plan none."""
    return find_masked_by_step(getattr(spec, "steps", None) or [])[-1]


def _translate_names(names: set[str], step: Any, *, back: bool) -> set[str]:
    """These columns as they are called on the other side of a step."""
    translated = set(names)
    if step.kind == "rename":
        for renaming in reversed(step.names) if back else step.names:
            old, new = (renaming.name, renaming.column) if back else (renaming.column, renaming.name)
            if old in translated:
                translated = translated - {old} | {new}
    elif step.kind == "join" and back:  # a column of the second table, which has its own name there
        translated |= {name.removesuffix(step.suffix) for name in names}
    return translated
