"""Times of cron expressions: days on which clocks change, nicknames, and what is no expression."""

from datetime import UTC, datetime, timedelta

import pytest

from apps.core.errors import Invalid
from apps.platform.calendars.recurrence import (
    count_missed,
    find_last_time,
    find_next_time,
    list_next_times,
    normalize_cron,
    validate_timezone,
)

BERLIN = "Europe/Berlin"


def test_days_on_which_clocks_change_have_one_time_each():
    spring = list_next_times("30 2 * * *", BERLIN, datetime(2026, 3, 28, 12, tzinfo=UTC), 2)
    autumn = list_next_times("30 2 * * *", BERLIN, datetime(2026, 10, 24, 12, tzinfo=UTC), 2)
    assert [f"{time:%d %H:%M}" for time in spring] == ["29 01:00", "30 00:30"]  # 02:30 is not there: 03:00
    assert [f"{time:%d %H:%M}" for time in autumn] == ["25 00:30", "26 01:30"]  # 02:30 is there twice: once


def test_the_last_time_and_those_before_it():
    now = datetime(2026, 7, 10, 0, 30, tzinfo=UTC)
    first = datetime(2026, 7, 2, 0, 30, tzinfo=UTC)
    assert find_last_time("30 2 * * *", BERLIN, now) == now
    assert find_last_time("30 2 * * *", BERLIN, now - timedelta(seconds=1)) == now - timedelta(days=1)
    assert count_missed("30 2 * * *", BERLIN, first, now) == 8
    assert count_missed("30 2 * * *", BERLIN, first, first) == 0
    assert count_missed("* * * * *", BERLIN, first, first + timedelta(days=365)) == 10_000


def test_normal_forms():
    forms = {" 30  2 * * MON-FRI ": "30 2 * * MON-FRI", "@daily": "0 0 * * *", "@Weekly": "0 0 * * 0"}
    assert {text: normalize_cron(text) for text in forms} == forms
    assert find_next_time("0 0 29 2 *", "UTC", datetime(2026, 1, 1, tzinfo=UTC)) == datetime(2028, 2, 29, tzinfo=UTC)


def test_what_is_no_expression_is_refused():
    texts = ["", "@often", "* * * *", "* * * * * *", "61 * * * *", "0 0 30 2 *", "a b c d e", "0 0 * * " + "1," * 99]
    codes = {}
    for text in texts:
        with pytest.raises(Invalid) as refusal:
            normalize_cron(text)
        codes[text] = (refusal.value.code, refusal.value.field)
    assert codes == dict.fromkeys(texts, ("invalid", "cron"))
    with pytest.raises(Invalid, match="no time zone"):
        validate_timezone("Mars/Base")
