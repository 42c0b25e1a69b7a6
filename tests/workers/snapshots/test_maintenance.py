"""Verification and removal where the repository is damaged, or another process writes to it."""

from __future__ import annotations

import pytest

from apps.site.snapshots import services
from deepseek.snapshots.errors import SnapshotError
from deepseek.snapshots.storage import FolderStorage
from tests.apps.site.snapshots.conftest import DISPATCHER, actor, destinations, store_snapshot  # noqa: F401
from tests.deepseek.snapshots.conftest import place, take  # noqa: F401
from workers.snapshots.maintenance import remove_snapshot, verify_snapshot
from workers.snapshots.progress import Progress

pytestmark = pytest.mark.django_db


def test_snapshot_is_removed_though_another_cannot_be_read(actor, place):  # noqa: F811
    snapshot = store_snapshot(actor)
    repository = place.open()
    take(repository, snapshot.name, {}, [b"one"])
    (place.root / "snapshots" / ("f" * 32)).write_bytes(b"damaged")
    operation = services.request_removal(actor=actor, snapshot=snapshot)
    with pytest.raises(services.LostOperation):  # it is not this process's
        remove_snapshot(DISPATCHER, operation, repository, Progress(DISPATCHER, operation))
    assert snapshot.name in repository.list_snapshot_ids()
    operation = services.claim_operation(actor=DISPATCHER, pk=operation.pk)
    with pytest.raises(SnapshotError):
        remove_snapshot(DISPATCHER, operation, repository, Progress(DISPATCHER, operation))
    snapshot.refresh_from_db()
    assert (snapshot.state, repository.list_snapshot_ids()) == ("removed", ["f" * 32])


def test_damage_is_recorded_while_another_process_writes(actor, place):  # noqa: F811
    snapshot = store_snapshot(actor)
    repository = place.open()
    take(repository, snapshot.name, {}, [b"one"])
    victim = max(place.root.glob("objects/*/*"), key=lambda path: path.stat().st_mtime_ns)
    victim.write_bytes(victim.read_bytes()[:-1])
    operation = services.request_verification(actor=actor, snapshot=snapshot)
    with FolderStorage(place.root).lock(), pytest.raises(SnapshotError) as caught:
        verify_snapshot(DISPATCHER, operation, repository, Progress(DISPATCHER, operation))
    assert caught.value.code in ("snapshot_busy", "snapshot_damaged")
    snapshot.refresh_from_db()
    assert snapshot.state == "damaged"
