"""When stock clients may install: a weekly window of a project. Outside of it they download and wait."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
MINUTES_PER_DAY = 24 * 60


def is_window_open(now: datetime, *, days: Collection[str], start: int, minutes: int, time_zone: str) -> bool:
    """Whether `now` lies in a window that opens at `start` (minutes after midnight, local) on one of `days`.

    `minutes` are those of the clock on the wall, at most a day; a window that began yesterday may still be open.
    """
    local = now.astimezone(ZoneInfo(time_zone)).replace(tzinfo=None)
    midnight = local.replace(hour=0, minute=0, second=0, microsecond=0)
    for opening_day in (midnight, midnight - timedelta(days=1)):
        opens = opening_day + timedelta(minutes=start)
        if DAYS[opening_day.weekday()] in days and opens <= local < opens + timedelta(minutes=minutes):
            return True
    return False
