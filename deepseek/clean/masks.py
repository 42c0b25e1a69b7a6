"""Which columns a plan masks, by the name that each has at each step: no error, note or report shows their cells."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any


class Every(frozenset[str]):
    """Every name there is: what a mask that names no column hides, for which columns hold text is seen too late."""

    def __contains__(self, name: object) -> bool:
        return True

    def __bool__(self) -> bool:
        return True


def masked_at(steps: Sequence[Any]) -> list[Collection[str]]:
    """The masked columns as they are called before each step, and behind the last: one more than there are steps.

    A column counts before its mask as much as behind it: a step that refuses a cell quotes it raw.
    """
    found: list[set[str]] = [set() for _ in range(len(steps) + 1)]
    for number, step in enumerate(steps):
        if step.kind != "mask":
            continue
        if step.columns is None:
            return [Every()] * (len(steps) + 1)
        names = set(step.columns)
        found[number] |= names
        for before in range(number - 1, -1, -1):
            found[before] |= (names := _called(names, steps[before], back=True))
        names = set(step.columns)
        for behind in range(number, len(steps)):
            found[behind + 1] |= (names := _called(names, steps[behind], back=False))
    return list(found)


def masked_columns(spec: Any) -> Collection[str]:
    """The columns of what comes out that a step has masked; of a spec without a plan none."""
    return masked_at(getattr(spec, "steps", None) or [])[-1]


def _called(names: set[str], step: Any, *, back: bool) -> set[str]:
    """These columns as they are called on the other side of a step."""
    found = set(names)
    if step.kind == "rename":
        for one in reversed(step.names) if back else step.names:
            old, new = (one.name, one.column) if back else (one.column, one.name)
            if old in found:
                found = found - {old} | {new}
    elif step.kind == "join" and back:  # a column of the second table, which has its own name there
        found |= {name.removesuffix(step.suffix) for name in names}
    return found
