"""What the ranks of a script print comes by whole lines, to the last one."""

from __future__ import annotations

import os
import time

import pytest

from deepseek.script import rank_logs
from deepseek.script.rank_logs import RankLogs


@pytest.fixture
def files(tmp_path):
    """Of two ranks, as torchrun lays them out."""
    paths = [tmp_path / f"none_x/attempt_0/{rank}/stdout.log" for rank in range(2)]
    for path in paths:
        path.parent.mkdir(parents=True)
    return [path.open("ab", buffering=0) for path in paths]


@pytest.fixture
def relay(tmp_path, monkeypatch):
    """A started one, and the reading end of what it writes to."""
    monkeypatch.setattr(rank_logs, "POLL_SECONDS", 0.01)
    reader, writer = os.pipe()
    os.set_blocking(reader, False)
    relay = RankLogs(tmp_path, target=writer)
    relay.start()
    yield relay, reader
    os.close(reader)
    os.close(writer)


def read(reader: int, expected: bytes) -> bytes:
    """What comes until it is as expected, for a minute at most."""
    data, deadline = b"", time.monotonic() + 60
    while data != expected and time.monotonic() < deadline:
        try:
            data += os.read(reader, 1 << 20)
        except BlockingIOError:
            time.sleep(0.01)
    return data


def test_lines_of_two_ranks_stay_whole(files, relay):
    for piece in (b"rank", b" ", b"0", b"\n"):
        files[0].write(piece)
        files[1].write(b"-")
    assert read(relay[1], b"rank 0\n") == b"rank 0\n"
    files[1].write(b" its own line\n")
    assert read(relay[1], b"---- its own line\n") == b"---- its own line\n"
    relay[0].close()


def test_what_is_written_last_is_passed_on(files, relay):
    relay[0]._is_over.set()
    relay[0].join()  # it has looked for the last time while the ranks still ran
    files[0].write(b"one\ntwo")
    files[1].write(b"three\n")
    relay[0].close()
    assert read(relay[1], b"one\nthree\ntwo\n") == b"one\nthree\ntwo\n"


def test_blocks_that_were_read_are_given_back(files, relay, monkeypatch):
    monkeypatch.setattr(rank_logs, "FREED_BYTES", 1 << 12)
    line = b"x" * 99 + b"\n"
    files[0].write(line * 300)
    assert read(relay[1], line * 300) == line * 300
    files[0].write(b"last\n")
    assert read(relay[1], b"last\n") == b"last\n"
    relay[0].close()


def test_a_rank_that_prints_without_end_holds_up_no_other(files, tmp_path, monkeypatch):
    monkeypatch.setattr(rank_logs, "READ_BYTES", 1000)
    files[0].write((b"x" * 99 + b"\n") * 100)
    files[1].write(b"of rank 1\n")
    target = os.open(tmp_path / "log", os.O_WRONLY | os.O_CREAT)
    RankLogs(tmp_path, target=target).close()
    os.close(target)
    data = (tmp_path / "log").read_bytes()
    assert len(data) == 10_010
    assert data.index(b"of rank 1\n") == 1000
