"""Compare the outputs of two runs by path and digest."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from apps.ml.experiments.models import Run, RunArtifact

FIGURES = "figures/"  # the slot whose file holds times
MAX_OUTPUTS = 2000  # of one run, that are compared
MAX_ITEMS = 50


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
    before, after = list_outputs(was), list_outputs(now)
    differing = []
    for path in sorted({*before, *after}):
        old_artifact, new_artifact = before.get(path), after.get(path)
        if (old_artifact and old_artifact.artifact_id) != (new_artifact and new_artifact.artifact_id):
            differing.append(
                Output(
                    path,
                    old_artifact.artifact_id if old_artifact else "",
                    new_artifact.artifact_id if new_artifact else "",
                    old_artifact.size if old_artifact else None,
                    new_artifact.size if new_artifact else None,
                    times_only=bool(old_artifact and new_artifact and same_figures and path.startswith(FIGURES)),
                )
            )
    return len({*before, *after}), differing


def list_outputs(run: Run) -> dict[str, RunArtifact]:
    return {artifact.path: artifact for artifact in RunArtifact.objects.filter(run=run).order_by("path")[:MAX_OUTPUTS]}
