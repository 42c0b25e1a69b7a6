"""How a repository of snapshots fails: with a code, the field, the limit and the remedy."""

from __future__ import annotations

from deepseek.job import EngineError
from deepseek.messages import N_

DAMAGED = "snapshot_damaged"


class SnapshotError(EngineError):
    """A repository, a key or an object that is not accepted. `code` is stable (docs/errors.md)."""


def build_damage_error(name: str) -> SnapshotError:
    return SnapshotError(
        "snapshot_damaged",
        "The object {name} of the repository is damaged or gone.",
        name=name,
        field="repository",
        hint=N_("Verify the repository, remove the snapshots that it names, and create a new one."),
    )
