"""Attempts at a snapshot that died: what they left in the repository, and what they had recorded."""

from __future__ import annotations

import pytest

from apps.core.errors import PlaneError, Unavailable
from apps.platform.artifacts.local_store import LocalStore
from apps.platform.artifacts.models import Artifact
from deepseek.snapshots.repository import SnapshotIndex
from tests.apps.site.snapshots.conftest import DISPATCHER, actor, destinations, store_snapshot  # noqa: F401
from tests.deepseek.snapshots.conftest import place, take  # noqa: F401
from workers.snapshots import creation, smoke
from workers.snapshots.creation import create_snapshot, hide_passwords, remove_own_attempt
from workers.snapshots.progress import Progress

FORMER, ORPHAN = "1" * 32, "2" * 32


def test_snapshot_of_an_attempt_that_died_is_removed_and_its_bytes_count(place):  # noqa: F811
    repository = place.open()
    take(repository, FORMER, {"database": b"rows"}, [b"one"])
    entry = repository.add_index(SnapshotIndex({}, repository.add_file([b"later rows"])))
    repository.commit(ORPHAN, entry, {"operation": "7 2026-11-01"})
    (place.root / "snapshots" / ("3" * 32)).write_bytes(b"damaged")
    survey = remove_own_attempt(repository, "7 2026-11-01")
    assert sorted(repository.list_snapshot_ids()) == [FORMER, "3" * 32]
    assert ([record.snapshot_id for record in survey.records], survey.unreadable) == ([FORMER], ("3" * 32,))
    assert survey.digests >= set(entry.blocks)
    assert remove_own_attempt(repository, "8 2026-11-01").digests < survey.digests
    assert repository.list_snapshot_ids()[0] == FORMER


def test_store_that_is_away_makes_no_snapshot(place, tmp_path, monkeypatch):  # noqa: F811
    store = LocalStore(tmp_path / "store")
    monkeypatch.setattr(creation, "get_store", lambda: store)
    artifacts = [("a" * 64, 3, False)]
    with pytest.raises(Unavailable):
        creation.store_artifacts(place.open(), artifacts, Progress(DISPATCHER, None))
    (tmp_path / "store" / "sha256").mkdir(parents=True)
    assert creation.store_artifacts(place.open(), artifacts, Progress(DISPATCHER, None)) == ([], ["a" * 64])


@pytest.mark.django_db
def test_drill_does_not_look_for_what_the_snapshot_lacks(monkeypatch, tmp_path):
    Artifact.objects.create(digest="a" * 64, size=1)
    monkeypatch.setattr(smoke, "get_store", lambda: LocalStore(tmp_path))
    assert smoke.hash_sample(["a" * 64]) == 0
    with pytest.raises(PlaneError):
        smoke.hash_sample([])


@pytest.mark.django_db
def test_snapshot_that_was_recorded_before_the_death_is_not_written_twice(actor):  # noqa: F811
    operation = store_snapshot(actor).operations.get()
    assert create_snapshot(DISPATCHER, operation, repository=None, progress=None) == {"missing": 0}


def test_configuration_tells_no_password():
    cells = {
        "redis://:secret@host:1/0": "redis://***@host:1/0",
        "postgres://plane:se/cr@et@host/db": "postgres://***@host/db",
        "main=s3://bucket/prefix": "main=s3://bucket/prefix",
    }
    assert hide_passwords(list(cells)) == list(cells.values())
    assert hide_passwords(8) == 8
