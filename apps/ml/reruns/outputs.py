"""The outputs of two runs, by path and digest."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from apps.ml.experiments.models import Run, RunArtifact

FIGURES = "figures/"  # the slot whose file holds times
OUTPUTS = 2000  # of one run, that are compared
SHOWN = 50


@dataclass(frozen=True, slots=True)
class Output:
    """One path whose bytes are not the same; empty digest: that side has none."""

    path: str
    was: str
    now: str
    was_size: int | None
    now_size: int | None
    times_only: bool = False  # the file of the figures, when nothing but what the clock measured differs

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def compare_outputs(was: Run, now: Run, *, same_figures: bool) -> tuple[int, list[Output]]:
    """(paths of either run, those whose bytes differ)."""
    before, after = held_by(was), held_by(now)
    differing = []
    for path in sorted({*before, *after}):
        one, other = before.get(path), after.get(path)
        if (one and one.artifact_id) != (other and other.artifact_id):
            differing.append(
                Output(
                    path,
                    one.artifact_id if one else "",
                    other.artifact_id if other else "",
                    one.size if one else None,
                    other.size if other else None,
                    times_only=bool(one and other and same_figures and path.startswith(FIGURES)),
                )
            )
    return len({*before, *after}), differing


def held_by(run: Run) -> dict[str, RunArtifact]:
    return {one.path: one for one in RunArtifact.objects.filter(run=run).order_by("path")[:OUTPUTS]}
