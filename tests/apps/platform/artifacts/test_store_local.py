"""What only a folder can get wrong: modes, a full disk, a share without links."""

from __future__ import annotations

import errno
import os

import pytest

from apps.core.canonical import sha256_hex
from apps.core.errors import StorageFull
from apps.platform.artifacts import local_store

DATA = b"abc" * 1000


def failing(code):
    def fail(*args, **kwargs):
        raise OSError(code, os.strerror(code))

    return fail


def test_objects_are_read_only(folder, stored):
    assert folder.path_of(stored(folder, DATA)).stat().st_mode & 0o777 == 0o400


@pytest.mark.parametrize("call", ["write", "fsync", "link"])
@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_is_named_and_leaves_nothing(folder, monkeypatch, stored, left_behind, call, code):
    monkeypatch.setattr(local_store.os, call, failing(code))
    with pytest.raises(StorageFull):
        stored(folder, DATA)
    assert left_behind(folder) == []
    assert not folder.exists(sha256_hex(DATA))


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_a_disk_that_is_really_full(folder):
    staging = folder.open_staging()
    os.dup2(os.open("/dev/full", os.O_WRONLY), staging.fd)
    with pytest.raises(StorageFull):
        staging.write(DATA)
    assert not staging.path.exists()


def test_a_share_without_hard_links_is_served_by_renaming(folder, monkeypatch, stored, left_behind):
    monkeypatch.setattr(local_store.os, "link", failing(errno.EPERM))
    digest = stored(folder, DATA)
    assert stored(folder, DATA) == digest
    assert folder.verify(digest)
    assert left_behind(folder) == []


def test_a_truncated_object_is_replaced_by_the_next_equal_upload(folder, stored):
    digest = stored(folder, DATA)
    path = folder.path_of(digest)
    path.unlink()
    path.write_bytes(DATA[:10])
    stored(folder, DATA)
    assert folder.verify(digest)
    assert [kept.read_bytes() for kept in folder.damaged.iterdir()] == [DATA[:10]]
