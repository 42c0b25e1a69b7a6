"""The metrics that a job told lately, as lines: a bounded tail. A kind that keeps a run has every point there."""

from __future__ import annotations

from typing import Any

from apps.platform.jobs.models import Job, JobEvent

EVENTS_READ = 300  # each holds up to two hundred points
NAMES_SHOWN = 12
POINTS_SHOWN = 240  # of a line; nobody sees more


def lines_of(job: Job) -> dict[str, list[tuple[float, float]]]:
    """{name: [(step, value), ...]} in the order of the steps; points without a step are counted. One query."""
    if not job.attempt:
        return {}
    events = JobEvent.objects.filter(job=job, kind="metric").order_by("-seq").values_list("payload", flat=True)
    found: dict[str, list[tuple[float, float]]] = {}
    for payload in reversed(events[:EVENTS_READ]):
        for point in payload.get("points") or [payload]:
            take(found, point)
    return {name: thinned(points) for name, points in found.items()}


def take(found: dict[str, list[tuple[float, float]]], point: dict[str, Any]) -> None:
    name, value, step = point.get("name"), point.get("value"), point.get("step")
    if not name or isinstance(value, bool) or not isinstance(value, int | float):
        return
    if name not in found and len(found) == NAMES_SHOWN:
        return
    line = found.setdefault(str(name), [])
    line.append((step if isinstance(step, int) and not isinstance(step, bool) else len(line) + 1, value))


def thinned(points: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """Evenly taken, the last one always among them."""
    every = -(-len(points) // POINTS_SHOWN)
    return points[::-1][::every][::-1]
