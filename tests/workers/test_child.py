"""What the engine's side tells of a checkpoint: a file of its own, and never more of them than two."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from workers.child import LINKS, Events


@pytest.fixture
def pipe():
    read, write = os.pipe()
    yield read, Events(write)
    os.close(read)
    os.close(write)


def told(read: int) -> list[dict]:
    return [json.loads(line) for line in os.read(read, 65536).splitlines()]


def test_a_checkpoint_stays_what_it_was_when_the_next_one_replaces_it(pipe, tmp_path):
    read, report = pipe
    path = tmp_path / ".out.checkpoint"
    for step in (1, 2):
        (tmp_path / "new").write_text(f"step {step}")
        (tmp_path / "new").rename(path)
        report.checkpoint(path, step)
    assert [(event["step"], Path(event["path"]).read_text()) for event in told(read)] == [(1, "step 1"), (2, "step 2")]


def test_a_worker_that_opens_none_finds_the_newest_only(pipe, tmp_path):
    _, report = pipe
    path = tmp_path / ".out.checkpoint"
    path.write_text("x")
    for step in range(1, 10):
        report.checkpoint(path, step)
    assert sorted(tmp_path.iterdir()) == [path, *(tmp_path / f"{path.name}.{step}" for step in (8, 9)[-LINKS:])]


def test_a_file_that_is_not_there_is_a_warning_and_no_fault(pipe, tmp_path):
    read, report = pipe
    report.checkpoint(tmp_path / "absent", 7)
    (event,) = told(read)
    assert (event["event"], event["level"]) == ("log", "warning")
    assert "step 7" in event["text"]
