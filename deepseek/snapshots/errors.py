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


def build_source_error(failure: OSError, digest: str = "") -> SnapshotError:
    """What is to be stored cannot be read: an artifact, or a file that was copied for the snapshot."""
    why = failure.strerror or type(failure).__name__
    if digest:
        return SnapshotError(
            "snapshot_source_unreadable",
            "The artifact {digest} cannot be read: {why}.",
            digest=digest,
            why=why,
            field="artifact",
            hint=N_("Look at the disk of the artifact store, and create the snapshot anew."),
        )
    return SnapshotError(
        "snapshot_source_unreadable",
        "The copy of the database or of a key cannot be read: {why}.",
        why=why,
        field="source",
        hint=N_("Look at the disk of PLANE_HOME, and create the snapshot anew."),
    )
