"""Tasks in processes: values in order, faults as results, and a lost process's tasks done again."""

import os
import signal
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import pytest

from deepseek.job import EngineError
from deepseek.partitions.carriers import (
    MAX_ATTEMPTS,
    InlineCarrier,
    ProcessCarrier,
    WorkerLostError,
    attempt,
    open_carrier,
)


def work(item):
    number, folder = item
    if number == 3:
        raise EngineError("bad_part", "The part {number} is bad.", number=number, field="inputs/table")
    lost = Path(folder, "lost")
    if number == 1 and not lost.exists():
        lost.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return number * 10


def die(item):
    os.kill(os.getpid(), signal.SIGKILL)


def test_a_killed_process_loses_no_task(tmp_path):
    done = []
    with open_carrier(2) as carrier:
        assert isinstance(carrier, ProcessCarrier)
        outcomes = carrier.run(work, [(number, str(tmp_path)) for number in range(5)], done.append)
        assert (tmp_path / "lost").exists()
        assert [outcome.value for outcome in outcomes] == [0, 10, 20, None, 40]
        assert outcomes[3].error.code == "bad_part"
        assert sorted(done) == [0, 1, 2, 3, 4]
        with pytest.raises(WorkerLostError, match="more partitions, or fewer processes"):
            carrier.run(die, [0], done.append)


def test_a_run_that_goes_on_is_not_given_up(monkeypatch):
    """Every task loses its process once: more losses than attempts, but each time something is done."""
    carrier, losses = ProcessCarrier(2), []

    def lose_one(function, items, pending, outcomes, on_done):
        if len(losses) < len(items):
            losses.append(pending)
            outcomes[pending[0]] = attempt(function, items[pending[0]])
            raise BrokenProcessPool
        raise AssertionError

    monkeypatch.setattr(carrier, "_run_pending", lose_one)
    outcomes = carrier.run(str, [10, 20, 30, 40, 50], lambda _: None)
    assert [outcome.value for outcome in outcomes] == ["10", "20", "30", "40", "50"]
    assert len(losses) == 5 > MAX_ATTEMPTS


def test_one_process_is_this_one(tmp_path):
    (tmp_path / "lost").touch()
    with open_carrier(1) as carrier:
        assert isinstance(carrier, InlineCarrier)
        outcomes = carrier.run(work, [(0, str(tmp_path)), (3, str(tmp_path))], lambda _: None)
    assert (outcomes[0].value, outcomes[1].error.field) == (0, "inputs/table")
