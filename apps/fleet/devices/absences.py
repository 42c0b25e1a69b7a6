"""When the plane was away: in that time it heard no device, so it counts neither as silence nor as observation."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise

from apps.fleet.devices.models import Presence

MAX_STRETCHES = 200  # that are read, newest first


@dataclass(frozen=True, slots=True)
class Absences:
    """Stretches in which the plane was away, oldest first."""

    stretches: tuple[tuple[datetime, datetime], ...] = ()

    def measure_absence(self, start: datetime, end: datetime) -> float:
        """Seconds between `start` and `end` in which the plane was away."""
        overlaps = ((min(end, back) - max(start, left)).total_seconds() for left, back in self.stretches)
        return sum(seconds for seconds in overlaps if seconds > 0)

    def measure_presence(self, start: datetime, end: datetime) -> float:
        """Seconds between `start` and `end` in which the plane was there; 0 where `end` comes first."""
        return max(0.0, (end - start).total_seconds() - self.measure_absence(start, end))


def read_absences() -> Absences:
    """The newest absences. One query."""
    rows = list(Presence.objects.order_by("-until").values_list("began_at", "until")[:MAX_STRETCHES])
    return Absences(tuple((left, back) for (_, left), (back, _) in pairwise(reversed(rows)) if back > left))
