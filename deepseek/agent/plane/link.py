"""When the plane is asked again: after a pause with jitter, longer after each failure, and never before it wants it."""

from __future__ import annotations

import random
import time
from collections.abc import Callable

FIRST_PAUSE, LONGEST_PAUSE = 2.0, 600.0
"""Seconds after one failure, and after many."""
REFUSED_PAUSE = 3600.0
"""A plane that does not know this device any more is asked once an hour: an operator may have changed that."""
ENROLMENT_PAUSE = 60.0
"""After the first refusal of an enrolment."""
POLL_JITTER = 0.2
"""A share of the pause between two polls, so that devices that started together do not stay together."""
LEAST_POLL, MOST_POLL = 0.05, 86_400.0


class Link:
    """The way to the plane: open, or closed for a while."""

    def __init__(self, clock: Callable[[], float] = time.monotonic, draw: Callable[[], float] = random.random) -> None:
        self._clock, self._draw = clock, draw
        self.failures = 0
        """Requests that failed since the last one that did not."""
        self._open_at = 0.0

    def seconds_until_open(self) -> float:
        return max(0.0, self._open_at - self._clock())

    def note_success(self) -> None:
        self.failures = 0

    def note_failure(self, retry_after: float = 0.0) -> float:
        """Close it, and return for how many seconds. `retry_after`: what the plane asked to wait for at least."""
        pause = min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** min(self.failures, 20)) * (0.5 + self._draw() / 2)
        self.failures += 1
        return self._close(max(pause, retry_after * (1 + 0.1 * self._draw())))

    def note_refusal(self) -> float:
        """Close it for long, and return for how many seconds."""
        self.failures += 1
        return self._close(REFUSED_PAUSE * (0.8 + 0.4 * self._draw()))

    def note_refused_enrolment(self) -> float:
        """Close it for a minute, then for longer up to an hour, and return for how many seconds: each try is a record
        at the plane, and a token that is wrong stays so until a person changes something."""
        pause = min(REFUSED_PAUSE, ENROLMENT_PAUSE * 2 ** min(self.failures, 20)) * (0.8 + 0.4 * self._draw())
        self.failures += 1
        return self._close(pause)

    def draw_poll_pause(self, seconds: float) -> float:
        """The pause before the next poll."""
        seconds = min(max(seconds, LEAST_POLL), MOST_POLL)
        return seconds * (1 - POLL_JITTER + 2 * POLL_JITTER * self._draw())

    def _close(self, seconds: float) -> float:
        self._open_at = self._clock() + seconds
        return seconds
