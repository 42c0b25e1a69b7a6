"""Whether a lease that has run out by the database's clock means that its worker is gone.

A living worker renews its leases every third of their length. So nothing is judged for the length of one lease, by a
clock that does not jump, after the database's clock has jumped, after a time in which the dispatcher stood still or the
database took no writes, and at the dispatcher's start: whoever lives has renewed by then.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from datetime import datetime

log = logging.getLogger(__name__)

MAX_LEASE_SECONDS = 3600.0 + 60.0  # no LEASE_SECONDS reaches farther
MIN_JUMP_SECONDS = 1.0


class LeaseClock:
    """`observe` the database's time once a round; then `is_trusted` says whether leases may be judged."""

    def __init__(self, lease: float, *, rest: float, monotonic: Callable[[], float] = time.monotonic) -> None:
        self.lease, self.monotonic = lease, monotonic
        self.longest_gap = max(lease / 2, 3 * rest)
        self.last: tuple[datetime, float] | None = None
        self.trusted_from = monotonic() + lease
        self.has_judged = True  # since the last gap: rounds that are always slow must not put it off for ever

    @property
    def is_new(self) -> bool:
        return self.last is None

    def observe(self, now: datetime) -> float:
        """Note the database's time; returns the seconds by which it has jumped since the last call, else 0."""
        at, last = self.monotonic(), self.last
        self.last = (now, at)
        if last is None:
            return 0.0
        gap = at - last[1]
        jump = (now - last[0]).total_seconds() - gap
        if abs(jump) >= max(MIN_JUMP_SECONDS, self.lease / 4):
            self.distrust(f"the database's clock has jumped by {jump:+.1f} s")
            return jump
        if gap > self.longest_gap and self.has_judged:
            self.has_judged = False
            self.distrust(f"the last round was {gap:.0f} s ago")
        return 0.0

    def distrust(self, why: str) -> None:
        """Judge no lease for the length of one."""
        self.trusted_from = self.monotonic() + self.lease
        log.warning("%s: no lease is judged for %g s", why, self.lease)

    def is_trusted(self) -> bool:
        if self.monotonic() < self.trusted_from:
            return False
        self.has_judged = True
        return True
