"""What benchmarks/seed.py adds that people never made: the points of runs, utilisation, queues, counts of endings.

Everything is folded by the functions of the services, so that charts and digests are those of real points.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

from apps.core.actors import PlaneRole, build_plane_actor
from apps.ml.experiments.metrics import series
from apps.ml.experiments.models import Metric, MetricPoint, Run
from apps.ml.experiments.services.points import add_buckets, add_points
from apps.platform.jobs.models import QueueSample
from apps.platform.jobs.scheduling.ended_job_counters import MAX_JOBS_PER_COUNT as TALLIED
from apps.platform.jobs.scheduling.ended_job_counters import count_ended_jobs
from apps.platform.nodes import samples
from apps.platform.nodes.models import Node, NodeSample

BATCH = 500
QUEUES = {"cpu": 9.0, "gpu": 4.0}  # how many wait at noon


# -- runs -----------------------------------------------------------------------------------------------------------
def points_of(key: str, source: list[MetricPoint], by: float, at: datetime) -> list[series.Point]:
    return [
        series.Point(key=key, value=point.number * by, step=point.step, at=at + timedelta(seconds=n))
        for n, point in enumerate(source)
    ]


def write_metrics(runs: list[Run], plan: list[tuple[Metric, list[series.Point]]]) -> None:
    """Each metric with its points, its thinned series and its digest; the runs that have ended with those of all."""
    of_run: dict[str, list[Metric]] = {}
    filled = []
    for metric, points in plan:
        series.reset_metric(metric)
        filled += [(metric, full) for full in series.fold_points(metric, points)]
        of_run.setdefault(metric.run_id, []).append(metric)
    for run in runs:
        if run.ended:
            run.metrics_digest = series.compute_run_digest(of_run.get(run.pk, []))
            run.metrics_count = sum(metric.count for metric in of_run.get(run.pk, []))
    Run.objects.bulk_update([run for run in runs if run.ended], ["metrics_digest", "metrics_count"], batch_size=100)
    Metric.objects.bulk_create([metric for metric, _points in plan], batch_size=BATCH)
    add_points(plan)
    add_buckets(filled)


# -- nodes and queues -----------------------------------------------------------------------------------------------
def moments(now: datetime) -> Iterator[tuple[int, datetime]]:
    """(span, time) of every sample that a plane of a month has kept."""
    for span, keep in samples.RETENTION.items():
        step = timedelta(seconds=span or samples.SAMPLE_SECONDS)
        at = samples.floor_time(now - keep, span or samples.SAMPLE_SECONDS) + step
        end = now - timedelta(seconds=span) - samples.SETTLE_DELAY
        while at < end:
            yield span, at
            at += step


def wave(at: datetime, phase: float) -> float:
    """0 to 1: busy by day, less at the weekend, never quite the same."""
    hours = at.timestamp() / 3600
    day = 0.5 - 0.5 * math.cos(2 * math.pi * (hours - 3) / 24)
    return (0.15 + 0.7 * day * (0.4 if at.weekday() > 4 else 1.0)) * (0.85 + 0.15 * math.sin(hours * 5 + phase))


def add_samples(nodes: list[Node], now: datetime, chance: random.Random) -> None:
    """A month of every node and queue, as heartbeats and the dispatcher would have left it; what they left stays."""
    for place, node in enumerate(nodes):
        heard = node.heartbeat_at or now
        kept = (sample(node, span, at, wave(at, place), chance) for span, at in moments(now) if at <= heard)
        NodeSample.objects.bulk_create(kept, batch_size=BATCH, ignore_conflicts=True)
    for place, (queue, most) in enumerate(QUEUES.items()):
        QueueSample.objects.bulk_create(
            (queue_sample(queue, span, at, round(most * wave(at, place))) for span, at in moments(now)),
            batch_size=BATCH,
            ignore_conflicts=True,
        )


def sample(node: Node, span: int, at: datetime, busy: float, chance: random.Random) -> NodeSample:
    share = min(1.0, max(0.0, busy + chance.gauss(0, 0.03)))
    gpus: list[dict[str, Any]] = [
        {
            "index": gpu["index"],
            "busy": round(share, 4),
            "memory_used_bytes": round(gpu["memory_bytes"] * share),
            "memory_bytes": gpu["memory_bytes"],
            "temperature": round(35 + 40 * share),
        }
        for gpu in node.gpus
    ]
    return NodeSample(
        node=node,
        span=span,
        at=at,
        cpu_share=round(share, 4),
        memory_used_bytes=round(node.memory_bytes * (0.2 + 0.6 * share)),
        memory_total_bytes=node.memory_bytes,
        disk_used_bytes=round(node.disk_bytes * 0.4),
        disk_total_bytes=node.disk_bytes,
        running_jobs=round(6 * share),
        gpus=gpus,
    )


def queue_sample(queue: str, span: int, at: datetime, queued: int) -> QueueSample:
    oldest = 45.0 * queued if queued else None
    return QueueSample(queue=queue, span=span, at=at, queued=queued, running=queued // 2, oldest_seconds=oldest)


def tally_all() -> None:
    """Count every ending, as the dispatcher does."""
    actor = build_plane_actor(PlaneRole.DISPATCHER)
    while count_ended_jobs(actor=actor) == TALLIED:
        pass
