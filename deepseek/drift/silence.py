"""Silence: no observation for longer than expected."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Literal

from deepseek.job import EngineError
from deepseek.messages import N_, Message

MAX_AHEAD = timedelta(minutes=5)
"""A clock may be ahead by so much; observations refuse more."""
MIN_GAPS = 20


@dataclass(frozen=True)
class SilenceResult:
    """`alarm`: silent; `ok`: not; `inconclusive`: nothing was expected yet, or the clock of the last one is wrong."""

    verdict: Literal["ok", "alarm", "inconclusive"]
    reason: Literal["heard", "silent", "never_heard", "not_due", "clock_ahead"]
    message: Message
    silent_for: timedelta | None = None


@dataclass(frozen=True)
class SilenceRule:
    """Alarm when nothing came for longer than `expected`."""

    expected: timedelta

    def __post_init__(self) -> None:
        if self.expected <= timedelta(0):
            raise EngineError(
                "bad_expected",
                N_("The expected interval has to be above 0 seconds."),
                field="/expected",
                value=str(self.expected),
                limit="> 0 s",
                hint=N_("Give the longest usual time between two observations."),
            )

    def evaluate(self, last: datetime | None, now: datetime, since: datetime) -> SilenceResult:
        """`last`: the time of the newest observation, or None; `since`: when the watch began.

        Give the time of receipt where there is one: a sender whose clock is a year behind is not silent.
        """
        if last is not None and last > now + MAX_AHEAD:
            ahead = format_duration(last - now)
            message = Message(N_("The newest observation is {ahead} ahead of the clock here."), ahead=ahead)
            return SilenceResult("inconclusive", "clock_ahead", message)
        start = since if last is None else max(last, since)
        silent_for = max(timedelta(0), now - start)
        duration, expected = format_duration(silent_for), format_duration(self.expected)
        if silent_for > self.expected:
            message = Message(
                N_("Nothing was observed for {duration}; at most {expected} was expected."),
                duration=duration,
                expected=expected,
            )
            return SilenceResult("alarm", "never_heard" if last is None else "silent", message, silent_for)
        if last is None:
            return SilenceResult("inconclusive", "not_due", Message(N_("Nothing was observed yet.")), silent_for)
        message = Message(N_("The last observation came {duration} ago."), duration=duration)
        return SilenceResult("ok", "heard", message, silent_for)


def format_duration(duration: timedelta) -> str:
    """In the largest unit that has at least two of it: 90 s, 5 min, 36 h, 12 d."""
    seconds = duration.total_seconds()
    for unit, size in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"


def estimate_expected_gap(times: Sequence[datetime], factor: float = 3.0) -> timedelta | None:
    """`factor` times the longest gap between observations so far; None of fewer than MIN_GAPS gaps."""
    ordered = sorted(times)
    gaps = [later - earlier for earlier, later in pairwise(ordered)]
    return max(gaps) * factor if len(gaps) >= MIN_GAPS and max(gaps) > timedelta(0) else None
