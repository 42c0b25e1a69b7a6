"""A repository in an S3-compatible store and on a disk without room: whole, or refused by name."""

from __future__ import annotations

import os
import subprocess

import pytest

from deepseek.snapshots.chunking import split_blocks
from deepseek.snapshots.errors import SnapshotError
from deepseek.snapshots.keys import generate_recovery_key
from deepseek.snapshots.repository import Repository
from deepseek.snapshots.storage import FolderStorage
from tests.deepseek.snapshots.conftest import take
from workers.snapshots.s3_storage import S3Storage

KEY, NAME = b"k" * 32, "1" * 32


def test_repository_in_s3_holds_removes_and_leaves_nothing(s3_endpoint, monkeypatch):
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    storage = S3Storage("snapshots/plane", endpoint=s3_endpoint, access_key="testing", secret_key="testing")
    storage.fs.mkdir("snapshots")
    _text, public = generate_recovery_key()
    repository = Repository.create(storage, plane_key=KEY, recovery_public=public, split=split_blocks)
    big = os.urandom(2 << 20)
    snapshot = take(repository, NAME, {"database": b"rows" * 1000}, [big, b"small"])
    repository = Repository.open(storage, plane_key=KEY, split=split_blocks)
    assert repository.verify_objects(sorted(set(repository.iter_digests(snapshot)))) == []
    assert not repository.add_object("0" * 64, lambda: [b"other"])
    assert repository.list_snapshot_ids() == [NAME]
    with pytest.raises(FileNotFoundError):
        storage.read("snapshots/" + "2" * 32)
    repository.remove_snapshot(NAME)
    assert repository.collect()[0] > 3
    assert list(storage.list_names("objects")) == []


def test_store_that_is_away_is_refused_by_name(monkeypatch):
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    storage = S3Storage("snapshots/plane", endpoint="http://127.0.0.1:9", access_key="a", secret_key="b", attempts=1)
    for work in lambda: Repository.open(storage, plane_key=KEY), lambda: list(storage.list_names("objects")):
        with pytest.raises(SnapshotError) as caught:
            work()
        assert caught.value.code == "snapshot_storage_unavailable"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root mounts a small disk")
def test_full_disk_keeps_former_snapshots_and_goes_on_when_there_is_room(tmp_path):
    small = tmp_path / "small"
    small.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "none", str(small)], check=False)
    if mounted.returncode:
        pytest.skip("no tmpfs can be mounted here")
    try:
        _text, public = generate_recovery_key()
        repository = Repository.create(FolderStorage(small), plane_key=KEY, recovery_public=public, split=split_blocks)
        first = take(repository, NAME, {"database": b"rows"}, [b"one"])
        with pytest.raises(SnapshotError) as caught:
            take(repository, "2" * 32, {"database": os.urandom(4 << 20)}, [])
        assert caught.value.code == "snapshot_storage_unavailable"
        assert "No space left" in caught.value.message
        repository = Repository.open(FolderStorage(small), plane_key=KEY, split=split_blocks)
        assert repository.list_snapshot_ids() == [NAME]
        repository.collect()
        assert repository.verify_objects(set(repository.iter_digests(first))) == []
        take(repository, "3" * 32, {"database": os.urandom(1 << 20)}, [b"one"])
    finally:
        subprocess.run(["umount", str(small)], check=True)
