"""Reading a snapshot back, and removing one with what only it needed."""

from __future__ import annotations

from typing import Any

from apps.core.actors import Actor
from apps.site.snapshots.models import SnapshotOperation
from apps.site.snapshots.services import UNREADABLE, record_removal, record_verification
from deepseek.messages import N_
from deepseek.snapshots.errors import SnapshotError
from deepseek.snapshots.repository import Repository
from workers.snapshots.progress import Progress
from workers.snapshots.survey import adopt_strangers, survey_repository


def verify_snapshot(
    actor: Actor, operation: SnapshotOperation, repository: Repository, progress: Progress
) -> dict[str, Any]:
    """Read every object back. Raises SnapshotError where one is damaged, once the snapshot says so."""
    snapshot = operation.snapshot
    progress.enter("verification", snapshot.total_bytes)
    try:
        digests = sorted(set(repository.iter_digests(repository.read_snapshot(snapshot.name))))
        damaged = repository.verify_objects(digests, progress.add)
    except SnapshotError as failure:
        if failure.code not in ("snapshot_damaged", "snapshot_unknown"):
            raise
        record_verification(actor=actor, snapshot=snapshot, damaged=[UNREADABLE])
        raise
    names = [repository.keys.build_name(digest) for digest in damaged]
    record_verification(actor=actor, snapshot=snapshot, damaged=names)
    if damaged:
        with repository.storage.lock():
            for digest in damaged:
                repository.discard_object(digest)  # so that the next snapshot stores it anew
        raise SnapshotError(
            "snapshot_damaged",
            "{count} objects of the snapshot are damaged or gone, {name} first.",
            count=len(damaged),
            name=names[0],
            field="repository",
            hint=N_("Create a snapshot: what the plane still has is stored anew, and this one may be whole again."),
        )
    return {"objects": len(digests)}


def remove_snapshot(
    actor: Actor, operation: SnapshotOperation, repository: Repository, progress: Progress
) -> dict[str, Any]:
    """Remove the snapshot first, and then every object that no other one names."""
    progress.enter("removal")
    with repository.storage.lock():
        progress.confirm()
        repository.remove_snapshot(operation.snapshot.name)
        try:
            objects, size = repository.collect(lambda _done, _total: progress.check())
        except SnapshotError:  # another snapshot cannot be read: this one is gone all the same
            record_removal(actor=actor, snapshot=operation.snapshot, objects=0, size=0)
            adopt_strangers(actor, repository, operation.destination, survey_repository(repository))
            raise
    record_removal(actor=actor, snapshot=operation.snapshot, objects=objects, size=size)
    return {"objects": objects, "bytes": size}
