"""What a repository holds, as against what the database knows of it: after a restore, a lost attempt, or damage."""

from __future__ import annotations

from dataclasses import dataclass

from apps.core.actors import Actor
from apps.site.snapshots.models import Snapshot
from apps.site.snapshots.services import UNREADABLE, adopt_snapshot, adopt_unreadable, record_verification
from apps.site.snapshots.states import SnapshotState
from apps.site.transfer.identity import get_identity
from deepseek.snapshots.errors import DAMAGED, SnapshotError
from deepseek.snapshots.repository import Repository, SnapshotRecord


@dataclass(frozen=True, slots=True)
class RepositorySurvey:
    """`digests`: of everything that the readable snapshots need. `unreadable`: names of those that are damaged."""

    records: tuple[SnapshotRecord, ...]
    digests: frozenset[str]
    unreadable: tuple[str, ...]


def survey_repository(repository: Repository) -> RepositorySurvey:
    """Read the root and the index of every snapshot. Raises SnapshotError where the place does not answer."""
    records, digests, unreadable = [], set[str](), []
    for snapshot_id in repository.list_snapshot_ids():
        try:
            record = repository.read_snapshot(snapshot_id)
            digests.update(repository.iter_digests(record))
        except SnapshotError as failure:
            if failure.code == DAMAGED:
                unreadable.append(snapshot_id)
            elif failure.code != "snapshot_unknown":  # removed meanwhile
                raise
            continue
        records.append(record)
    return RepositorySurvey(tuple(records), frozenset(digests), tuple(unreadable))


def adopt_strangers(actor: Actor, repository: Repository, destination: str, survey: RepositorySurvey) -> None:
    """Rows for snapshots of this plane that its database does not know, so that retention counts them, and damage for
    those that cannot be read: one of these keeps everything else from being removed.

    The database forgets what came after the snapshot that it was restored from; an attempt that died between the
    repository and the database leaves a snapshot, too. What another plane wrote is left alone.
    """
    rows = {
        row.name: row
        for row in Snapshot.objects.filter(destination=destination, repository_id=repository.repository_id)
    }
    plane_id = get_identity().id
    for record in survey.records:
        about = record.about
        if record.snapshot_id in rows or about.get("plane", plane_id) != plane_id:
            continue
        adopt_snapshot(
            actor=actor,
            destination=destination,
            name=record.snapshot_id,
            repository_id=repository.repository_id,
            made_at=about.get("made_at", record.created_at),
            artifacts=about.get("artifacts", 0),
            total_bytes=about.get("total_bytes", 0),
        )
    for name in survey.unreadable:
        row = rows.get(name)
        if row is None:
            adopt_unreadable(actor=actor, destination=destination, name=name, repository_id=repository.repository_id)
        elif row.state == SnapshotState.STORED:
            record_verification(actor=actor, snapshot=row, damaged=[UNREADABLE])
