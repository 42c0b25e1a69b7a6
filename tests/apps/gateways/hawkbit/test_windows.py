"""When a weekly window is open, in the site's own time."""

from __future__ import annotations

from datetime import UTC, datetime

from apps.gateways.hawkbit.windows import is_window_open

NIGHT = {"days": ("mon", "fri"), "start": 22 * 60, "minutes": 360, "time_zone": "Europe/Berlin"}


def test_a_window_over_midnight():
    cells = {  # UTC; Berlin is an hour ahead in November 2026, two in July
        datetime(2026, 11, 30, 20, 59): False,  # Monday, 21:59 there
        datetime(2026, 11, 30, 21, 0): True,
        datetime(2026, 12, 1, 2, 59): True,  # Tuesday, 3:59: the window of Monday
        datetime(2026, 12, 1, 3, 0): False,
        datetime(2026, 12, 1, 21, 30): False,  # Tuesday night has none
        datetime(2026, 7, 3, 20, 0): True,  # Friday, 22:00 in summer time
    }
    assert {at: is_window_open(at.replace(tzinfo=UTC), **NIGHT) for at in cells} == cells


def test_a_window_of_a_whole_day_and_one_over_the_end_of_the_week():
    always = {"days": ("sun",), "start": 0, "minutes": 1440, "time_zone": "UTC"}
    assert is_window_open(datetime(2026, 11, 29, 23, 59, tzinfo=UTC), **always)
    assert not is_window_open(datetime(2026, 11, 30, 0, 0, tzinfo=UTC), **always)
    late = {"days": ("sun",), "start": 23 * 60, "minutes": 120, "time_zone": "UTC"}
    assert is_window_open(datetime(2026, 11, 30, 0, 30, tzinfo=UTC), **late)
