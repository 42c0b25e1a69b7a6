"""What a chart reads: every point of a short series, the extremes of a long one, always in two queries at most."""

from __future__ import annotations

import math

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from apps.experiments import reads
from apps.experiments.models import MetricPoint

pytestmark = pytest.mark.django_db


def lines(run) -> dict:
    with CaptureQueriesContext(connection) as seen:
        found = reads.lines_of(list(run.metrics.order_by("key")))
    assert len(seen) <= 3  # the metrics, the short ones, the long ones
    return {line.metric.key: line for line in found}


def test_a_short_series_is_drawn_as_it_is(run, log):
    log(run, loss=[(3, 1.0), (1, math.nan), (2, 0.5)])
    line = lines(run)["loss"]
    assert (line.points, line.thinned) == ([(1, None), (2, 0.5), (3, 1.0)], False)


def test_a_long_series_keeps_its_extremes(run, log):
    values = [math.sin(n / 50) for n in range(5000)]
    values[1234], values[4321] = 99.0, math.nan
    log(run, loss=values, short=[1, 2])
    line = lines(run)["loss"]
    assert (len(line.points) <= reads.DRAWN, line.thinned) == (True, True)
    assert max(value for _, value in line.points) == 99.0
    assert [line.points[0][0], line.points[-1][0]] == [1, 5000]
    assert [step for step, _ in line.points] == sorted(step for step, _ in line.points)


def test_two_long_series_share_their_steps(run, log):
    log(run, a=[(n, n) for n in range(600)], b=[(n, -n) for n in range(1000, 1600)])
    found = lines(run)
    assert len(found["a"].points) + len(found["b"].points) <= reads.DRAWN + 4
    assert found["b"].points[-1][0] == 1599


def test_far_steps_do_not_overflow(run, log):
    log(run, loss=[(n * 2**43, float(n)) for n in range(600)])
    assert lines(run)["loss"].points[-1] == (599 * 2**43, 599.0)


def test_every_point_once_in_batches(run, log, monkeypatch):
    monkeypatch.setattr(reads, "POINTS_PER_READ", 2)
    log(run, loss=[(1, 1), (1, 2), (1, 3), (2, 4), (3, 5)])
    metric = run.metrics.get()
    batches = list(reads.batches_of(metric))
    assert [[value for _, value, _ in batch] for batch in batches] == [[1, 2], [3, 4], [5]]
    assert MetricPoint.objects.count() == 5
