"""What a chart reads of a million points: the thinned series against a scan of them, on the same rows.

    python benchmarks/charts.py [--points 1000000] [--rounds 15]                     SQLite
    DATABASE_URL=postgres://user@host/any python benchmarks/charts.py                PostgreSQL, a database of its own

The points of one metric are recorded as a worker sends them, in batches; the scan is the query that charts asked before
the series was thinned as it grows. Both are read by turns, and the ratio is that of their medians in the same run. The
scan groups; it does not have to return more rows than the thinned series.
"""

from __future__ import annotations

import argparse
import math
import os
import statistics
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "controlplane.settings")

from benchmarks.web import place_of_our_own  # noqa: E402

BATCH = 5000
SPANS = 250


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    asked.add_argument("--points", type=int, default=1_000_000)
    asked.add_argument("--rounds", type=int, default=15)
    told = asked.parse_args()
    with place_of_our_own():
        import django

        django.setup()
        from django.core.management import call_command
        from django.db import connection

        call_command("migrate", verbosity=0)
        try:
            measure(told.points, told.rounds)
        finally:
            connection.close()


def measure(points: int, rounds: int) -> None:
    from django.db import connection

    from apps.ml.experiments.metrics.lines import Window, load_lines
    from apps.ml.experiments.models import Metric, MetricBucket

    took = recorded(points)
    metric = Metric.objects.get()
    buckets = MetricBucket.objects.count()
    print(f"{connection.vendor}, {points:,} points recorded in {took:.1f} s, {buckets:,} buckets beside them")
    middle = points // 2
    ways: dict[str, Callable[[], int]] = {
        "scan, whole": lambda: scanned(metric),
        "thinned, whole": lambda: len(load_lines([metric])[0].points),
        "thinned, a tenth": lambda: len(load_lines([metric], window=Window(middle, middle + points // 10))[0].points),
        "thinned, 400 steps": lambda: len(load_lines([metric], window=Window(middle, middle + 399))[0].points),
    }
    times: dict[str, list[float]] = {name: [] for name in ways}
    rows = {name: way() for name, way in ways.items()}  # once, so that the pages are in memory for all of them
    for _round in range(rounds):
        for name, way in ways.items():
            began = time.perf_counter()
            way()
            times[name].append((time.perf_counter() - began) * 1000)
    medians = {name: statistics.median(found) for name, found in times.items()}
    for name, found in times.items():
        ratio = medians["scan, whole"] / medians[name]
        spread = f"{min(found):8.2f} to {max(found):8.2f}"
        print(f"  {name:20} {rows[name]:5} points  median {medians[name]:9.2f} ms ({spread})  {ratio:8.1f} x the scan")
    extremes_stay(metric)


def recorded(points: int) -> float:
    """Seconds that recording took: as a worker's relay does it, batch by batch."""
    from apps.core.actors import PlaneRole, build_plane_actor
    from apps.ml.experiments.models import Experiment, Run
    from apps.ml.experiments.services import Point, log_metrics
    from apps.platform.accounts.models import Project

    project = Project.objects.create(slug="demo", name="Demo")
    experiment = Experiment.objects.create(project=project, number=0, name="Default")
    run = Run.objects.create(project=project, experiment=experiment, name="long", kind="train")
    actor, start = build_plane_actor(PlaneRole.WORKER, host="bench"), datetime(2026, 1, 1, tzinfo=UTC)
    began = time.perf_counter()
    for first in range(0, points, BATCH):
        steps = range(first, min(points, first + BATCH))
        told = [Point("loss", value_at(step, points), step, start + timedelta(milliseconds=step)) for step in steps]
        log_metrics(actor=actor, run=run, points=told)
    return time.perf_counter() - began


def value_at(step: int, points: int) -> float:
    """A falling, noisy line with one spike that must stay visible."""
    return 50.0 if step == points // 3 else 3 * math.exp(-step / points * 4) + math.sin(step * 0.7) * 0.1


def scanned(metric) -> int:
    """Lowest and highest of SPANS equal spans of steps, asked of every point."""
    from django.db.models import F, FloatField, Max, Min, Q
    from django.db.models.functions import Cast, Floor

    from apps.ml.experiments.models import MetricPoint

    low, high = metric.first_step, metric.step
    place = Cast(F("step") - low, FloatField()) * (SPANS / (high - low + 1))
    found = MetricPoint.objects.filter(metric=metric).annotate(bucket=Floor(place)).values("bucket")
    return 2 * len(found.annotate(low=Min("value", filter=Q(is_nan=False)), high=Max("value", filter=Q(is_nan=False))))


def extremes_stay(metric) -> None:
    from apps.ml.experiments.metrics.lines import load_lines

    values = [value for _step, value in load_lines([metric])[0].points if value is not None]
    assert (min(values), max(values)) == (metric.lowest, metric.highest), "an extreme is lost"
    print(f"  extremes kept: {min(values):.4g} and {max(values):.4g}")


if __name__ == "__main__":
    main()
