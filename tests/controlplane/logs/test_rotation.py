"""Logs do not grow for ever, and whoever writes to one goes on writing."""

from __future__ import annotations

import os

import pytest

from controlplane.logs import rotation
from controlplane.logs.rotation import rotate


@pytest.fixture
def log(tmp_path):
    return tmp_path / "web.log"


def test_a_small_log_is_left(log):
    log.write_text("12345")
    assert not rotate(log, larger_than=5, keep=3)
    assert [path.name for path in log.parent.iterdir()] == ["web.log"]


def test_a_log_that_is_not_there_yet_is_no_fault(log):
    assert not rotate(log, larger_than=5, keep=3)


def test_whoever_has_it_open_writes_to_its_beginning(log):
    with log.open("ab", buffering=0) as child:
        child.write(b"old old\n")
        assert rotate(log, larger_than=5, keep=3)
        child.write(b"new\n")
    assert (log.read_text(), (log.parent / "web.log.1").read_text()) == ("new\n", "old old\n")


def test_only_so_many_are_kept_and_the_oldest_goes(log):
    for number in range(5):
        log.write_text(f"round {number}")
        rotate(log, larger_than=5, keep=3)
    left = {path.name: path.read_text() for path in log.parent.iterdir()}
    assert left == {"web.log": "", "web.log.1": "round 4", "web.log.2": "round 3"}


def test_one_that_keeps_nothing_is_cut(log):
    log.write_text("123456")
    rotate(log, larger_than=5, keep=1)
    assert [(path.name, path.read_text()) for path in log.parent.iterdir()] == [("web.log", "")]


def test_a_full_disk_cuts_nothing(log, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    log.write_text("123456")
    monkeypatch.setattr(rotation.shutil, "copyfileobj", full)
    with pytest.raises(OSError, match="No space"):
        rotate(log, larger_than=5, keep=3)
    assert os.listdir(log.parent) == ["web.log"]
    assert log.read_text() == "123456"


def test_a_log_of_the_last_days_is_kept_however_many(log):
    for number in range(5):
        log.write_text(f"{number} and more")
        assert rotate(log, larger_than=5, keep=2, keep_days=184)
    names = sorted(path.name for path in log.parent.iterdir())
    assert names == ["web.log", "web.log.1", "web.log.2", "web.log.3", "web.log.4", "web.log.5"]
    long_ago = 1_000_000_000
    for number in (4, 5):
        os.utime(log.with_name(f"web.log.{number}"), (long_ago, long_ago))
    log.write_text("5 and more")
    assert rotate(log, larger_than=5, keep=2, keep_days=184)
    assert not log.with_name("web.log.5").exists()
