"""Names of runs where there is little room: in legends, and above the columns of a comparison."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from apps.ml.experiments.models import Run


def label_runs(runs: Sequence[Run], length: int) -> dict[str, str]:
    """{run: its name, at most `length` characters}; with the first digits of its id where another has the same."""
    short = {run.pk: shorten_name(run.name, length) for run in runs}
    counts = Counter(short.values())
    return {pk: name if counts[name] == 1 else f"{name} {pk[:8]}" for pk, name in short.items()}


def shorten_name(name: str, length: int) -> str:
    """The name without its middle: names of one series differ at the end, as in "churn: train" and "churn: compile"."""
    if len(name) <= length:
        return name
    tail = (length - 1) // 2
    return f"{name[: length - 1 - tail].rstrip()}\u2026{name[-tail:].lstrip()}"
