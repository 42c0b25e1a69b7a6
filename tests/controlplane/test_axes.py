"""Scales, round ticks and smoothing."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from django.utils import timezone

from apps.web.templatetags.axes import (
    MAX_LEVEL_LETTERS,
    Scale,
    apply_smoothing,
    build_ticks,
    format_level,
    format_levels,
    get_axis_formatter,
)


def test_equal_steps_of_a_logarithm_are_equal_ratios():
    scale = Scale([1, 100], log=True)
    assert [scale.to_percent(value) for value in (1, 10, 100)] == [0, 50, 100]


@pytest.mark.parametrize(
    ("low", "high", "log", "ticks"),
    [
        (0, 10, False, [0, 2, 4, 6, 8, 10]),
        (0.1, 0.16, False, [0.1, 0.11, 0.12, 0.13, 0.14, 0.15, 0.16]),
        (1, 1000, True, [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000]),
        (1e-12, 1, True, [1e-12, 1e-10, 1e-8, 1e-6, 1e-4, 1e-2, 1]),
    ],
)
def test_ticks_are_round_and_on_the_axis(low, high, log, ticks):
    found = Scale([low, high], log=log).compute_ticks()
    assert [value for _, value in found] == pytest.approx(ticks)
    assert all(-1e-6 <= place <= 100.000001 for place, _ in found)


@pytest.mark.parametrize(
    ("values", "holding", "low", "high"),
    [([99.9, 100.0], (0.0, 100.0), 0, 100), ([0.0, 0.0], (0.0,), 0, 1), ([40.0, 90.0], (0.0,), 0, 90)],
)
def test_an_amount_is_drawn_from_zero(values, holding, low, high):
    scale = Scale(values, holding=holding)
    assert (scale.low, scale.high) == (low, high)
    assert [value for _, value in Scale([0.0, 1.0]).compute_ticks(integers=True)] == [0, 1]


@pytest.mark.parametrize("values", [[], [0.0], [5.0, 5.0], [1e300, -1e300], [1e-300, 2e-300]])
def test_any_values_make_an_axis(values):
    scale = Scale(values)
    assert scale.high > scale.low
    assert len(scale.compute_ticks()) < 12


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0, "0"), (100_000.0, "100,000"), (12e6, "1.2e7"), (-2.5e-5, "−2.5e−5"), (0.0004, "0.0004"), (9e-7, "9e−07")],
)
def test_what_stands_beside_a_line_is_as_short_as_its_margin(value, text):
    assert format_level(value) == text


@pytest.mark.parametrize(
    ("values", "texts"),
    [
        ([2.0, 2.5], ["2", "2.5"]),
        ([71.5601, 71.5602], ["71.5601", "71.5602"]),
        ([76935.5, 76936.0], ["76935.5", "76936.0"]),
        ([193616.0, 193616.4, 193616.8], ["193,616", "", ""]),
        ([1193616.4, 1193616.6], ["1.19e6", "1.19e6"]),
    ],
)
def test_lines_across_a_chart_are_told_apart_where_there_is_room(values, texts):
    assert format_levels(values) == texts


@pytest.mark.parametrize(
    ("high", "texts"),
    [
        (90, ["0 ms", "15 s", "30 s", "45 s", "1 min", "1 min 15 s", "1 min 30 s"]),
        (7200, ["0 ms", "30 min", "1 h", "1 h 30 min", "2 h"]),
    ],
)
def test_spans_of_time_are_told_in_round_ones(high, texts):
    assert [text for *_, text in build_ticks("relative", Scale([0, high]))] == texts


def test_moments_are_told_at_round_ones(settings):
    settings.TIME_ZONE = "UTC"
    begin = datetime(2026, 1, 2, 3, 4, tzinfo=UTC).timestamp()
    found = build_ticks("time", Scale([begin, begin + 3600]))
    assert [text for *_, text in found] == ["03:10", "03:20", "03:30", "03:40", "03:50", "04:00"]


@pytest.mark.parametrize("zone", ["UTC", "Asia/Shanghai", "America/New_York", "Asia/Kathmandu"])
def test_days_begin_at_midnight_of_the_reader_even_where_clocks_are_changed(zone):
    with timezone.override(ZoneInfo(zone)):
        begin = datetime(2026, 3, 5, 12, tzinfo=UTC).timestamp()  # in New York clocks go forward on the eighth
        found = build_ticks("time", Scale([begin, begin + 5 * 86_400]))
        days = [datetime.fromtimestamp(value, ZoneInfo(zone)) for _, value, _ in found]
    assert [(day.day, day.hour, day.minute) for day in days] == [(day, 0, 0) for day in (6, 7, 8, 9, 10)]
    assert [text for *_, text in found] == [f"{day} Mar" for day in (6, 7, 8, 9, 10)]


@pytest.mark.parametrize("kind", ["step", "relative", "time"])
@pytest.mark.parametrize("span", [0.001, 1, 59, 1e5, 1e9])
def test_any_span_has_a_few_ticks(kind, span):
    assert 0 <= len(build_ticks(kind, Scale([1.7e9, 1.7e9 + span]))) < 12


def test_smoothing_begins_at_the_first_value_and_keeps_a_constant():
    assert apply_smoothing([(0, 5.0, 1), (1, 5.0, 1)], 0.99) == [(0, 5.0), (1, pytest.approx(5.0))]


def test_smoothing_is_the_average_that_the_field_draws():
    """By hand: 0.5 of the last and 0.5 of the new, divided by 1 - 0.5 to the count."""
    found = apply_smoothing([(0, 1.0, 1), (1, 2.0, 1), (2, 4.0, 1)], 0.5)
    assert [value for _, value in found] == pytest.approx([1.0, 1.25 / 0.75, 2.625 / 0.875])


def test_points_that_were_pooled_count_as_often_as_they_are():
    whole = apply_smoothing([(n, float(n // 4), 1) for n in range(40)], 0.8)
    pooled = apply_smoothing([(n, float(n), 4) for n in range(10)], 0.8)
    assert [value for _, value in pooled] == pytest.approx([value for _, value in whole[3::4]])


def test_no_weight_is_the_line_itself():
    assert apply_smoothing([(0, 1.0, 1), (1, math.pi, 1)], 0.0) == [(0, 1.0), (1, math.pi)]


def test_a_span_that_is_hardly_one_has_an_axis():
    assert Scale([0.0, 5e-324]).compute_ticks()


@pytest.mark.parametrize("seconds", [-1e11, -62_135_596_800.0, 253_402_300_799.0, 1e12])
def test_a_moment_beyond_the_calendar_stands_at_its_end(seconds):
    across = Scale([seconds])
    assert isinstance(build_ticks("time", across), list)
    assert get_axis_formatter("time")(across.high)


def test_no_level_is_wider_than_the_margin():
    values = [sign * 1.26 * 10.0**power for power in range(-90, 91) for sign in (1, -1)]
    assert {text for text in map(format_level, values) if len(text) > MAX_LEVEL_LETTERS} == set()
