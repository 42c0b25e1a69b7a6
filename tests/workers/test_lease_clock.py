"""When leases are judged: not after a jump of the clock, an outage or a start, for the length of one lease."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from workers.lease_clock import LeaseClock

LEASE = 30.0
START = datetime(2026, 1, 1, tzinfo=UTC)


class Machine:
    """A monotonic clock, and a wall clock that is ahead of it by `ahead` seconds."""

    def __init__(self) -> None:
        self.monotonic, self.ahead = 1000.0, 0.0
        self.clock = LeaseClock(LEASE, rest=1, monotonic=lambda: self.monotonic)

    def run(self, seconds: float, step: float = 1.0) -> list[bool]:
        """Rounds of the dispatcher for so long: whether leases were judged, of each."""
        judged = []
        for _ in range(int(seconds / step)):
            self.monotonic += step
            self.clock.observe(START + timedelta(seconds=self.monotonic + self.ahead))
            judged.append(self.clock.is_trusted())
        return judged


@pytest.fixture
def machine() -> Machine:
    made = Machine()
    assert made.run(60) == [False] * 29 + [True] * 31  # the start
    return made


@pytest.mark.parametrize("jump", [3600, -3600, 3 * 86_400, -3 * 86_400, LEASE / 2])
def test_nothing_is_judged_for_one_lease_after_a_jump(machine, jump):
    machine.ahead += jump
    assert machine.run(40) == [False] * 30 + [True] * 10


def test_jump_is_measured(machine):
    machine.ahead -= 3600
    machine.monotonic += 1
    jump = machine.clock.observe(START + timedelta(seconds=machine.monotonic + machine.ahead))
    assert jump == pytest.approx(-3600)


def test_slow_drift_is_no_jump(machine):
    for _ in range(20):
        machine.ahead += 0.5
        assert machine.run(1) == [True]


def test_nothing_is_judged_after_the_dispatcher_stood_still(machine):
    machine.monotonic += 120
    assert machine.run(40) == [False] * 30 + [True] * 10


def test_rounds_that_are_always_slow_still_judge(machine):
    assert machine.run(200, step=20) == [False, False, True] * 3 + [False]


def test_nothing_is_judged_while_the_database_takes_no_writes(machine):
    machine.clock.distrust("full")
    assert not any(machine.run(29))
