"""Bytes written behind whoever makes them: in their order, and nothing that goes wrong is lost."""

from __future__ import annotations

import errno
import os
import threading
from concurrent.futures import wait

import pytest

from apps.core.canonical import sha256_hex
from apps.core.errors import StorageFull
from apps.platform.artifacts import write_behind
from apps.platform.artifacts.local_store import SMALL
from apps.platform.artifacts.store import CHUNK
from apps.platform.artifacts.write_behind import PIECES, Flushing, WriteBehind

LARGE = [bytes([n]) * CHUNK for n in range(SMALL // CHUNK + PIECES + 3)]


@pytest.fixture
def file(tmp_path):
    fd = os.open(tmp_path / "file", os.O_WRONLY | os.O_CREAT, 0o600)
    yield tmp_path / "file", WriteBehind(fd)
    os.close(fd)


def test_pieces_are_in_the_file_in_their_order(file, monkeypatch):
    monkeypatch.setattr(write_behind, "FLUSHED", 3)
    path, writing = file
    for n in range(100):
        writing.write(bytes([n]))
    writing.wait()
    writing.stop()
    assert path.read_bytes() == bytes(range(100))


def test_no_more_pieces_wait_than_memory_is_given(file, monkeypatch):
    _, writing = file
    gate = threading.Event()
    monkeypatch.setattr(write_behind, "write_all", lambda fd, data: gate.wait(10))
    for _ in range(PIECES):
        writing.write(b"x")
    late = threading.Thread(target=writing.write, args=(b"y",))
    late.start()
    late.join(0.1)
    assert late.is_alive()
    gate.set()
    late.join()
    writing.stop()


@pytest.mark.parametrize("pieces", [1, PIECES + 1])
def test_what_goes_wrong_is_told(file, monkeypatch, pieces):
    def full(fd, data):
        raise OSError(errno.ENOSPC, "full")

    def write() -> None:
        for _ in range(pieces):
            writing.write(b"x")
        writing.wait()

    _, writing = file
    monkeypatch.setattr(write_behind, "write_all", full)
    with pytest.raises(OSError, match="full"):
        write()
    writing.stop()


def test_a_flush_that_failed_is_told_though_the_next_one_would_not_fail(file, monkeypatch):
    failing = iter([OSError(errno.EIO, "the disk is broken")])

    def sync(fd):
        for failure in failing:
            raise failure

    def write() -> None:
        for _ in range(3):
            flushing.wrote(writing.fd, 1)
            wait([flushing.last])

    _, writing = file
    monkeypatch.setattr(write_behind, "FLUSHED", 1)
    monkeypatch.setattr(write_behind.os, "fdatasync", sync)
    with Flushing() as flushing, pytest.raises(OSError, match="broken"):
        write()
    writing.stop()


def test_a_large_object_is_whole(folder, left_behind):
    with folder.open_staging() as staging:
        for piece in LARGE:
            staging.write(piece)
        digest, _ = staging.publish()
    assert digest == sha256_hex(b"".join(LARGE))
    assert folder.verify(digest)
    assert left_behind(folder) == []


@pytest.mark.parametrize("ends", ["published", "discarded"])
def test_a_disk_that_fills_up_under_a_large_object_leaves_nothing(folder, monkeypatch, left_behind, ends):
    staging = folder.open_staging()
    for piece in LARGE[: SMALL // CHUNK]:
        staging.write(piece)
    monkeypatch.setattr(write_behind.os, "write", lambda fd, data: (_ for _ in ()).throw(OSError(errno.ENOSPC, "full")))
    staging.write(LARGE[-2])
    staging.write(LARGE[-1])
    if ends == "discarded":
        staging.discard()
    else:
        with pytest.raises(StorageFull):
            staging.publish()
    assert left_behind(folder) == []
    assert list(folder.objects()) == []
