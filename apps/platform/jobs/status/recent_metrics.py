"""The most recent metrics of a job as line series, bounded. Kinds that keep a run store every point there."""

from __future__ import annotations

from typing import Any

from apps.platform.jobs.models import Job, JobEvent

MAX_EVENTS = 300  # each holds up to two hundred points
MAX_METRICS = 12
MAX_POINTS = 240  # of a line; nobody sees more


def load_recent_metrics(job: Job) -> dict[str, list[tuple[float, float]]]:
    """{name: [(step, value), ...]} in the order of the steps; points without a step are counted. One query."""
    if not job.attempt:
        return {}
    events = JobEvent.objects.filter(job=job, kind="metric").order_by("-seq").values_list("payload", flat=True)
    series: dict[str, list[tuple[float, float]]] = {}
    for payload in reversed(events[:MAX_EVENTS]):
        for point in payload.get("points") or [payload]:
            add_point(series, point)
    return {name: thin_points(points) for name, points in series.items()}


def add_point(series: dict[str, list[tuple[float, float]]], point: dict[str, Any]) -> None:
    name, value, step = point.get("name"), point.get("value"), point.get("step")
    if not name or isinstance(value, bool) or not isinstance(value, int | float):
        return
    if name not in series and len(series) == MAX_METRICS:
        return
    line = series.setdefault(str(name), [])
    line.append((step if isinstance(step, int) and not isinstance(step, bool) else len(line) + 1, value))


def thin_points(points: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """Sample points evenly; the last one is always included."""
    every = -(-len(points) // MAX_POINTS)
    return points[::-1][::every][::-1]
