"""Runs that were deleted long ago, and what a purge says of them."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from apps.ml.experiments.models import (
    Experiment,
    Metric,
    MetricBucket,
    MetricPoint,
    Run,
)
from apps.ml.experiments.purge.deletion import purge_runs

MONTH = timedelta(days=30)


@pytest.fixture
def experiment(project):
    return Experiment.objects.create(project=project, number=1, name="old", created_by="x")


@pytest.fixture
def deleted(project, experiment):
    """deleted(id, days=40) -> a run that was deleted so long ago."""

    def make(letter, days=40, **columns):
        when = timezone.now() - timedelta(days=days) if days else None
        facts = {"project": project, "experiment": experiment, "name": f"run {letter}", "created_by": "x"}
        return Run.objects.create(id=letter * 32, state="finished", deleted_at=when, **(facts | columns))

    return make


@pytest.fixture
def measured():
    """measured(run, count) gives it so many points of a metric, and their buckets."""

    def write(run, count):
        now = timezone.now()
        facts = {"project": run.project, "experiment": run.experiment, "started_at": now, "at": now, "digest": "d"}
        metric = Metric.objects.create(run=run, key="loss", value=1, step=1, first_step=0, count=count, **facts)
        MetricPoint.objects.bulk_create(MetricPoint(metric=metric, step=n, value=n, at=now) for n in range(count))
        MetricBucket.objects.create(
            metric=metric, level=0, upto=8, count=8, odd=0, first_step=0, last_step=7, lowest_step=0, highest_step=7
        )

    return write


@pytest.fixture
def purge(operator, project):
    """purge(**options) -> (report, lines of what goes, {id: why} of what stays)"""

    def run(older_than=MONTH, **options):
        goes, stays = [], {}

        def say(one):
            if one.kept:
                stays[one.run.pk] = one.kept
            else:
                goes.append((one.run.pk, one.points, one.files, one.bytes))

        report = purge_runs(actor=operator, project=project, older_than=older_than, say=say, **options)
        return report, goes, stays

    return run
