"""Buckets: full ones once, of every size, the rest kept; the same whatever the batches are, and after a resume."""

from __future__ import annotations

import math
from datetime import UTC, datetime

import pytest

from apps.ml.experiments.metrics import downsampling
from apps.ml.experiments.metrics.downsampling import BASE, FAN, Bucket
from apps.ml.experiments.models import MetricBucket

pytestmark = pytest.mark.services

AT = datetime(2026, 1, 2, tzinfo=UTC)


def fed(values, batch=10**9):
    """(the full buckets, the open ones) of these values at steps from 0."""
    opened, full, count = [], [], 0
    told = [(step, value, AT) for step, value in enumerate(values)]
    while told[count : count + batch]:
        part = told[count : count + batch]
        opened = downsampling.read(downsampling.written(opened))
        full += downsampling.take(opened, count, part)
        count += len(part)
    return full, opened


def test_every_level_is_full_at_its_size():
    full, opened = fed([1.0] * (BASE * FAN * FAN + 1))
    assert [sum(one.level == level for one in full) for level in range(4)] == [FAN * FAN, FAN, 1, 0]
    assert [one.upto for one in full if one.level == 2] == [BASE * FAN * FAN]
    assert [bucket.count for bucket in opened] == [1, 0, 0, BASE * FAN * FAN]


@pytest.mark.parametrize("batch", [1, 7, 16, 100])
def test_batches_do_not_matter(batch):
    values = [math.sin(n) for n in range(300)]
    assert fed(values, batch) == fed(values)


def test_extremes_and_mean_of_a_bucket():
    bucket = fed([3.0, math.nan, -1.0, math.inf, 7.0, 1.0, 1.0, 1.0])[0][0].bucket
    assert (bucket.lowest, bucket.lowest_step, bucket.highest, bucket.highest_step) == (-1.0, 2, 7.0, 4)
    assert (bucket.count, bucket.odd, bucket.mean) == (8, 2, 2.0)


def test_a_level_tells_its_extremes_from_the_one_below():
    full, _ = fed([float(n) for n in range(BASE * FAN)])
    top = next(one.bucket for one in full if one.level == 1)
    assert (top.first_step, top.last_step, top.lowest, top.highest) == (0, 31, 0.0, 31.0)


def test_a_sum_beyond_the_numbers_has_no_mean():
    assert Bucket(count=2, total=math.inf).mean is None
    assert downsampling.read(downsampling.written([Bucket(count=2, total=math.inf)]))[0].mean is None


@pytest.mark.parametrize(("count", "room", "level"), [(1, 1, 0), (8, 1, 0), (9, 1, 1), (10**6, 500, 4)])
def test_the_finest_level_that_there_is_room_for(count, room, level):
    assert downsampling.find_level(count, room) == level


@pytest.mark.django_db
@pytest.mark.parametrize("again", [1, 40, 64, 65, 100])
def test_a_resumed_attempt_leaves_the_buckets_of_one_that_was_not_broken_off(start, log, job, next_attempt, again):
    values = [float(n * 7 % 13) for n in range(201)]
    whole, broken = start(), start(job)
    log(whole, loss=values)
    log(broken, loss=[*values[: again - 1], *[99.0] * 30])
    broken = start(next_attempt(job))
    log(broken, loss=list(enumerate(values, 1))[again - 1 :])
    told = [
        list(
            MetricBucket.objects.filter(metric__run=run)
            .order_by("level", "upto")
            .values_list("level", "upto", *(name for name in downsampling.FIELDS if not name.endswith("_at")))
        )
        for run in (whole, broken)
    ]
    assert told[0] == told[1] != []
    assert [run.metrics.get().open_buckets[0][0] for run in (whole, broken)] == [1, 1]


@pytest.mark.django_db
def test_what_was_recorded_before_is_thinned_too(run, log):
    from importlib import import_module

    from django.apps import apps

    log(run, loss=[float(n) for n in range(101)])
    metric = run.metrics.get()
    before = metric.open_buckets, list(metric.buckets.order_by("upto", "level").values_list("level", "upto", "highest"))
    metric.buckets.all().delete()
    run.metrics.update(open_buckets=[])
    import_module("apps.ml.experiments.migrations.0002_thinned_series").thin_what_is_there(apps, None)
    metric.refresh_from_db()
    after = metric.open_buckets, list(metric.buckets.order_by("upto", "level").values_list("level", "upto", "highest"))
    assert after == before
