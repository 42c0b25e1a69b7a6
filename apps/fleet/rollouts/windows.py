"""Whether a schedule's weekly windows are open. Pure."""

from __future__ import annotations

from datetime import datetime, time, timedelta
from zoneinfo import ZoneInfo

from apps.fleet.rollouts.schemas import InstallWindow, Schedule

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
LONGEST = 8  # days back in which an open window can have begun


def is_open(schedule: Schedule, now: datetime) -> bool:
    """Whether devices may be given the version at `now`. Windows begin by the clock of the schedule's time zone, and
    last as long as planned, also when that clock is changed in them."""
    if not schedule.windows:
        return True
    zone = ZoneInfo(schedule.time_zone)
    return any(is_window_open(window, zone, now) for window in schedule.windows)


def is_window_open(window: InstallWindow, zone: ZoneInfo, now: datetime) -> bool:
    hours, minutes = window.start.split(":")
    today = now.astimezone(zone).date()
    for back in range(LONGEST):
        day = today - timedelta(days=back)
        begin = datetime.combine(day, time(int(hours), int(minutes)), tzinfo=zone)
        age = now.timestamp() - begin.timestamp()
        if DAYS[day.weekday()] in window.days and 0 <= age < window.minutes * 60:
            return True
    return False
