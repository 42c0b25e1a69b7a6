"""What a chart reads: every point of a short series, the extremes of a long one, always in a few queries."""

from __future__ import annotations

import math
from datetime import timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from apps.core.errors import Invalid
from apps.ml.experiments import queries
from apps.ml.experiments.metrics import lines
from apps.ml.experiments.metrics.lines import Window, load_lines, parse_window
from apps.ml.experiments.models import MetricPoint
from tests.apps.ml.experiments.conftest import START

pytestmark = [pytest.mark.django_db, pytest.mark.services]


def read(run, **asked) -> dict:
    with CaptureQueriesContext(connection) as seen:
        found = load_lines(list(run.metrics.order_by("key")), **asked)
    assert len(seen) <= 5 + (
        "times" in asked
    )  # the metrics, what the window holds (twice), the short ones, the long ones
    return {line.metric.key: line for line in found}


def test_a_short_series_is_drawn_as_it_is(run, log):
    log(run, loss=[(3, 1.0), (1, math.nan), (2, 0.5)])
    line = read(run)["loss"]
    assert (line.points, line.thinned, line.odd) == ([(1, None), (2, 0.5), (3, 1.0)], False, 1)


def test_a_long_series_keeps_its_extremes_where_they_were(run, log):
    values = [math.sin(n / 50) for n in range(5000)]
    values[1234], values[4321] = 99.0, math.nan
    log(run, loss=values, short=[1, 2])
    line = read(run)["loss"]
    assert (len(line.points) <= lines.DRAWN, line.thinned, line.odd) == (True, True, 1)
    assert (1235, 99.0) in line.points
    assert line.points[0][0] <= 32
    assert line.points[-1] == (5000, values[-1])
    assert [step for step, _ in line.points] == sorted(step for step, _ in line.points)


def test_the_points_of_no_length_of_a_series_are_lost(run, log):
    """Whatever is open stands behind what is full: nothing is told twice or left out."""
    for count in range(990, 1060, 7):
        log(run, **{f"k{count}": [float(n) for n in range(count)]})
    assert {key: sum(n for *_, n in line.means) for key, line in read(run).items()} == {
        f"k{count}": count for count in range(990, 1060, 7)
    }


def test_a_run_of_what_is_no_number_is_a_gap(run, log):
    log(run, loss=[1.0] * 600 + [math.nan] * 200 + [2.0] * 600)
    points = read(run)["loss"].points
    gap = [step for step, value in points if value is None]
    assert gap
    assert {value for step, value in points if value is not None} == {1.0, 2.0}


def test_far_steps_do_not_overflow(run, log):
    log(run, loss=[(n * 2**43, float(n)) for n in range(1020)])
    assert read(run)["loss"].points[-1] == (1019 * 2**43, 1019.0)


def test_a_window_is_told_finer_than_the_whole(run, log):
    values = [float(n) for n in range(6000)]
    log(run, loss=values)
    assert len(read(run)["loss"].points) < 500
    near = read(run, window=Window(3000, 3799))["loss"]
    assert near.points == [(n, float(n - 1)) for n in range(3000, 3800)]
    wide = read(run, window=Window(1, 3000))["loss"].points
    assert (len(wide) > 700, wide[-1][0] >= 2990, wide[-1][0] <= 3016) == (True, True, True)


def test_a_window_on_the_newest_points_reaches_the_end(run, log):
    log(run, loss=[float(n) for n in range(6001)])
    line = read(run, window=Window(5000))["loss"]
    assert line.points[-1] == (6001, 6000.0)
    assert min(step for step, _ in line.points) >= 4984


def test_many_lines_share_the_room(run, log):
    log(run, **{f"k{n}": [float(m) for m in range(450)] for n in range(20)})
    assert sum(len(line.points) for line in read(run).values()) <= lines.DRAWN_TOGETHER + 20


def test_time_since_the_start_is_an_axis(run, log):
    log(run, loss=[1.0, 2.0])
    place = lines.build_relative_locator({run.pk: run.metrics.get().at})
    assert [where for where, _ in read(run, place=place)["loss"].points] == [-1.0, 0.0]


def resumed(count: int) -> list[tuple[int, int, float]]:
    """(step, seconds, value) of a run that went on from its middle an hour later."""
    first = [(step, step, float(step)) for step in range(count)]
    return first + [(step, 3600 + step, step + 0.5) for step in range(count // 2, count + count // 2)]


@pytest.mark.parametrize("count", [4, 2000])
def test_a_resumed_run_goes_forward_along_every_axis(run, log_at, count):
    log_at(run, loss=resumed(count))
    places = {
        "step": lines.locate_by_step,
        "relative": lines.build_relative_locator({run.pk: START}),
        "time": lines.locate_by_time,
    }
    last = {"step": count + count // 2 - 1, "relative": 3599 + count + count // 2}
    for axis, place in places.items():
        line = read(run, place=place)["loss"]
        for found in (line.points, line.means):
            assert [one[0] for one in found] == sorted(one[0] for one in found), axis
        assert axis not in last or line.points[-1] == (last[axis], count + count // 2 - 0.5)


def test_a_long_series_without_steps_keeps_its_extremes_in_time(run, log_at):
    values = [math.sin(n / 50) for n in range(5000)]
    values[1234], values[4321] = 99.0, -99.0
    log_at(run, loss=[(0, second, value) for second, value in enumerate(values)])
    points = read(run, place=lines.build_relative_locator({run.pk: START}))["loss"].points
    assert {(1234, 99.0), (4321, -99.0)} <= set(points)
    assert points[-1] == (4999, values[-1])


def test_what_is_no_number_is_a_gap_where_it_came_in_time(run, log_at):
    """Steps that were done again are no numbers the second time: the gap is there, not beside the first ones."""
    log_at(run, loss=[(step, step, 1.0) for step in range(800)])
    log_at(run, loss=[(step, 3600 + step, math.nan) for step in range(800)])
    log_at(run, loss=[(step, 7200 + step, 1.0) for step in range(800)])
    points = read(run, place=lines.build_relative_locator({run.pk: START}))["loss"].points
    gaps = [place for place, (_where, value) in enumerate(points) if value is None]
    assert points[gaps[0] - 1][0] < 800
    assert points[gaps[-1] + 1][0] >= 7200


def in_time(run, low: int, high: int) -> lines.Line:
    times = {run.pk: (START + timedelta(seconds=low), START + timedelta(seconds=high))}
    return read(run, place=lines.build_relative_locator({run.pk: START}), times=times)["loss"]


def test_time_windows_of_a_long_series_without_steps(run, log_at):
    """A narrow window returns every point; a wide one keeps its extremes and reaches both ends.

    One long series for all windows: recording it is what costs.
    """
    wide = [(0, 1200), (20_011, 21_999), (57_777, 59_999), (30_000, 50_000)]
    values = [math.sin(n) for n in range(60_000)]
    for low, high in wide:
        values[(low + high) // 2], values[high - 500] = 99.0, -99.0
    log_at(run, loss=[(0, second, value) for second, value in enumerate(values)])
    wrong = {}
    for low in (0, 31_000, 59_100, 59_500):
        if in_time(run, low, low + 899).points != list(enumerate(values))[low : low + 900]:
            wrong[low] = "not every point"
    for low, high in wide:
        points, room = in_time(run, low, high).points, max(16, (high - low) // 60)
        checks = {
            "extremes": {((low + high) // 2, 99.0), (high - 500, -99.0)} <= set(points),
            "count": 200 < len(points) <= lines.DRAWN,
            "first": low <= points[0][0] <= low + room,
            "last": high - room <= points[-1][0] <= high,
        }
        wrong |= {(low, high, name): points for name, passed in checks.items() if not passed}
    assert wrong == {}


def test_a_part_in_time_without_a_number_between_is_empty(run, log_at):
    log_at(run, loss=[(0, second, math.nan if 5000 < second < 15_000 else 1.0) for second in range(20_000)])
    assert {value for _, value in in_time(run, 7000, 13_000).points} <= {None}


def test_times_that_come_out_of_order_lose_no_extreme(run, log_at):
    """An hour that is sent after the one behind it."""
    first = [(0, 3600 + second, float(second % 7)) for second in range(4000)]
    later = [(0, second, -50.0 if second == 2222 else float(second % 5)) for second in range(3600)]
    log_at(run, loss=first)
    log_at(run, loss=later)
    assert (2222, -50.0) in in_time(run, 1000, 3000).points


@pytest.mark.parametrize(("start", "end", "field"), [("x", "", "from"), ("", "1e99", "to"), ("5", "5", "to")])
def test_a_window_of_nonsense_is_named(start, end, field):
    with pytest.raises(Invalid) as refused:
        parse_window(start, end)
    assert refused.value.field == field


def test_every_point_once_in_batches(run, log, monkeypatch):
    monkeypatch.setattr(queries, "POINTS_PER_READ", 2)
    log(run, loss=[(1, 1), (1, 2), (1, 3), (2, 4), (3, 5)])
    metric = run.metrics.get()
    batches = list(queries.iter_point_batches(metric))
    assert [[value for _, value, _ in batch] for batch in batches] == [[1, 2], [3, 4], [5]]
    assert MetricPoint.objects.count() == 5


def test_values_whose_sum_no_number_holds_are_drawn_without_their_mean(run, log):
    log(run, loss=[1.7e308, 1.7e308, *[1.0] * 2998])
    line = read(run)["loss"]
    assert (line.thinned, max(value for _step, value in line.points)) == (True, 1.7e308)
    assert all(math.isfinite(mean) for _place, mean, _count in line.means)
