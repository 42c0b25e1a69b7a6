"""Silence, and clocks that are wrong."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from deepseek.drift.silence import SilenceRule, estimate_expected_gap, format_duration
from deepseek.job import EngineError

NOW = datetime(2026, 11, 30, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


@pytest.mark.parametrize(
    ("last", "since", "verdict", "reason"),
    [
        (NOW - HOUR / 2, NOW - 9 * HOUR, "ok", "heard"),
        (NOW - HOUR, NOW - 9 * HOUR, "ok", "heard"),
        (NOW - 2 * HOUR, NOW - 9 * HOUR, "alarm", "silent"),
        (NOW - 2 * HOUR, NOW - HOUR / 2, "ok", "heard"),  # the watch began later
        (None, NOW - HOUR / 2, "inconclusive", "not_due"),
        (None, NOW - 2 * HOUR, "alarm", "never_heard"),
        (NOW + timedelta(minutes=3), NOW - 9 * HOUR, "ok", "heard"),
        (NOW + timedelta(days=365), NOW - 9 * HOUR, "inconclusive", "clock_ahead"),
        (NOW - timedelta(days=365), NOW - timedelta(days=400), "alarm", "silent"),
    ],
)
def test_silence(last, since, verdict, reason):
    result = SilenceRule(HOUR).evaluate(last, NOW, since)
    assert (result.verdict, result.reason) == (verdict, reason)


def test_expected_gap():
    times = [NOW + place * HOUR for place in range(30)]
    assert estimate_expected_gap(times) == 3 * HOUR
    assert estimate_expected_gap(times[:10]) is None
    with pytest.raises(EngineError, match="above 0"):
        SilenceRule(timedelta(0))


@pytest.mark.parametrize(("seconds", "text"), [(90, "90 s"), (300, "5 min"), (129_600, "36 h"), (1_036_800, "12 d")])
def test_duration(seconds, text):
    assert format_duration(timedelta(seconds=seconds)) == text
