"""Numbers as people read them."""

from datetime import datetime, timedelta

import pytest
from django.template import Context, Template
from django.template.defaultfilters import truncatechars
from django.utils import translation
from django.utils.safestring import mark_safe

from apps.web.templatetags.formats import (
    format_bytes,
    format_duration,
    format_number,
    format_relative_time,
    format_share,
    format_short_time,
    truncate_text,
)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (10367, "10,367"),
        (-36.98, "−36.98"),
        (0.022894, "0.02289"),
        (1234.5678, "1,235"),
        (0, "0"),
        (0.0, "0"),
        (3.0, "3"),
        (1.2e-7, "1.2e−07"),
        (-4.00645e-5, "−4.006e−05"),
        (0.00012346, "0.0001235"),
        ("12", "12"),
        ("word", "word"),
        (None, "–"),
        (float("nan"), "–"),
        (float("inf"), "–"),
        (True, "1"),
    ],
)
def test_number(value: object, expected: str) -> None:
    assert format_number(value) == expected


def test_number_with_decimals() -> None:
    assert format_number(1234.5, 2) == "1,234.50"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 kB"),
        (57120, "57.1 kB"),
        (999_950, "1.0 MB"),
        (2.5e15, "2.5 PB"),
        (None, "–"),
    ],
)
def test_bytes(value: object, expected: str) -> None:
    assert format_bytes(value) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (0.07, "70 ms"),
        (0.312, "0.31 s"),
        (9, "9 s"),
        (41, "41 s"),
        (59.6, "1 min"),
        (87, "1 min 27 s"),
        (3600, "1 h"),
        (7620, "2 h 7 min"),
        (273600, "3 d 4 h"),
        (-87, "−1 min 27 s"),
        (timedelta(minutes=15), "15 min"),
        (None, "–"),
    ],
)
def test_duration(value: object, expected: str) -> None:
    assert format_duration(value) == expected


def test_duration_in_chinese() -> None:
    with translation.override("zh-hans"):
        assert format_duration(87) == "1 分 27 秒"


@pytest.mark.parametrize(
    ("value", "total", "expected"),
    [(0.642, 1, "64.2 %"), (354, 10371, "3.4 %"), (1, 1, "100 %"), (1, 0, "–"), (None, 1, "–")],
)
def test_share(value: object, total: object, expected: str) -> None:
    assert format_share(value, total) == expected


@pytest.mark.parametrize(
    ("moment", "expected"),
    [
        (datetime(2025, 11, 24, 14, 48, 2), "14:48:02"),
        (datetime(2025, 11, 6, 16, 40), "6 Nov 16:40"),
        (datetime(2024, 9, 29, 14, 48), "2024-09-29 14:48"),
    ],
)
def test_spoken_time(moment: datetime, expected: str) -> None:
    assert format_short_time(moment, datetime(2025, 11, 24, 15, 0)) == expected


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (10, "just now"),
        (50, "1 min ago"),
        (59 * 60 + 59, "59 min ago"),
        (3 * 3600, "3 h ago"),
        (2 * 86_400, "2 d ago"),
        (8 * 86_400, "16 Nov 15:00"),
        (-90, "in 1 min"),
        (-3 * 86_400, "in 3 d"),
    ],
)
def test_a_moment_by_its_distance(seconds: int, expected: str) -> None:
    now = datetime(2025, 11, 24, 15, 0)
    assert format_relative_time(now - timedelta(seconds=seconds), now) == expected


@pytest.mark.parametrize(
    "value",
    ["", "short", "exactly ten", "é" * 11, "e\u0301" * 11, "e\u0301" * 10, "\u0958" * 6, "价格" * 5, 12345678901, None],
)
@pytest.mark.parametrize("limit", [10, 11, 0, -1, "10", "word"])
def test_truncated_as_django_does(value: object, limit: object) -> None:
    assert truncate_text(value, limit) == truncatechars(value, limit)


def test_truncation_keeps_what_is_safe() -> None:
    template = Template("{{ safe|truncatechars:9 }} {{ text|truncatechars:9 }} {{ text|truncatechars:2 }}")

    assert template.render(Context({"safe": mark_safe("<b>"), "text": "<i>"})) == "<b> &lt;i&gt; &lt;…"
