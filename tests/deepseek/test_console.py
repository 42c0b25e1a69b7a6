"""What a person sees of a run: metrics and progress, on a terminal and in a file."""

import io

import pytest

from deepseek import console
from deepseek.console import ConsoleReport


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def clock(monkeypatch):
    """Time that stands still until it is told to move."""
    now = [100.0]
    monkeypatch.setattr(console.time, "monotonic", lambda: now[0])
    return now


def test_a_terminal_shows_the_newest_metrics_in_the_line(clock):
    report = ConsoleReport(Terminal())
    report.progress(0, 100, "steps", stage="train")
    report.metric("train_loss", 0.5, 1)
    report.metric("train_loss", 0.25, 2)
    clock[0] += 1
    report.progress(2, 100, "steps", stage="train")
    assert report._stream.getvalue().endswith("train: 2 steps   2 %  train_loss 0.25")


def test_a_line_never_wraps(clock):
    report = ConsoleReport(Terminal())
    report.progress(0, 9, "steps", stage="train")
    for name in "abcdefgh":
        report.metric(name * 20, 1, 1)
    clock[0] += 1
    report.progress(1, 9, "steps", stage="train")
    assert len(report._stream.getvalue().split("\x1b[K")[-1]) == 79


def test_a_file_gets_a_line_every_two_seconds(clock):
    report = ConsoleReport(io.StringIO())
    report.progress(0, 9, "steps", stage="train")
    for step in range(1, 8):
        clock[0] += 0.5
        report.metric("train_loss", 1 / step, step)
        report.metric("batch_size", 32, step)
    assert report._stream.getvalue() == "train: 9 steps\nstep 3:  train_loss 0.3333  batch_size 32\n"


def test_metrics_of_the_whole_run_are_left_to_the_result(clock):
    report = ConsoleReport(io.StringIO())
    report.metric("rows", 5)
    clock[0] += 9
    report.metric("rows", 5)
    assert report._stream.getvalue() == ""


def test_a_new_stage_begins_without_metrics(clock):
    report = ConsoleReport(Terminal())
    report.progress(0, 9, "steps", stage="train")
    report.metric("train_loss", 1, 1)
    report.progress(0, 5, "rows", stage="measure")
    assert "train_loss" not in report._stream.getvalue()
