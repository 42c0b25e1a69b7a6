"""Fold points into their metric: newest, lowest and highest value, and the digest of the whole series.

Pure: nothing here asks the database.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import NamedTuple

from apps.core.canonical import sha256_hex
from apps.core.errors import Invalid
from apps.ml.experiments.keys import KEY_LIMIT
from apps.ml.experiments.metrics import downsampling
from apps.ml.experiments.metrics.downsampling import FullBucket
from apps.ml.experiments.models import Metric
from deepseek.messages import N_

SYSTEM = "system/"  # what begins so tells of the machine: MLflow's prefix
STEP_LIMIT = 2**53  # what every JSON reader takes as a whole number


class Point(NamedTuple):
    """One value of a metric at a step. NaN and the infinities are values."""

    key: str
    value: float
    step: int
    at: datetime


def check_point(point: Point) -> None:
    """Raise Invalid for a key that cannot be one or a step out of range."""
    if not 0 < len(point.key) <= KEY_LIMIT or "\x00" in point.key:
        raise Invalid(
            "{key!r} cannot be the name of a metric.",
            key=point.key[:60],
            field="key",
            limit=f"1 to {KEY_LIMIT} characters",
            hint=N_("For instance train/loss."),
        )
    if abs(point.step) > STEP_LIMIT:
        raise Invalid("{step} is out of range.", step=point.step, field="step", limit=f"-{STEP_LIMIT}..{STEP_LIMIT}")


def reset_metric(metric: Metric) -> None:
    """The row as it is before its first point."""
    metric.count, metric.digest, metric.open_buckets = 0, "", []
    metric.lowest = metric.lowest_step = metric.highest = metric.highest_step = None


def fold_points(metric: Metric, points: Sequence[Point]) -> list[FullBucket]:
    """Take `points` of this metric into its row, in the order they came; gives the buckets that they fill. No write."""
    if not points:
        return []
    opened = downsampling.read(metric.open_buckets)
    filled = list(downsampling.take(opened, metric.count, ((point.step, point.value, point.at) for point in points)))
    metric.open_buckets = downsampling.written(opened)
    # In locals: clients send thousands of points a second, and an attribute of a model costs more than what is done.
    digest, first_step = metric.digest, metric.first_step if metric.count else points[0].step
    newest = (metric.step, metric.at, not metric.is_nan, metric.value) if metric.count else None
    lowest, lowest_step, highest, highest_step = metric.lowest, metric.lowest_step, metric.highest, metric.highest_step
    for _key, value, step, at in points:
        number, is_nan = convert_for_storage(value)
        # The newest by step, then time, then value, as MLflow; NaN is the least.
        place = (step, at, not is_nan, number)
        if newest is None or place >= newest:
            newest = place
        if step < first_step:
            first_step = step
        if not is_nan:
            if lowest is None or number < lowest:
                lowest, lowest_step = number, step
            if highest is None or number > highest:
                highest, highest_step = number, step
        digest = extend_digest(digest, step, math.nan if is_nan else number)
    metric.step, metric.at, is_number, metric.value = newest  # type: ignore[misc]  # there are points
    metric.is_nan = not is_number
    metric.lowest, metric.lowest_step, metric.highest, metric.highest_step = lowest, lowest_step, highest, highest_step
    metric.first_step, metric.count, metric.digest = first_step, metric.count + len(points), digest
    return filled


def convert_for_storage(value: float) -> tuple[float, bool]:
    """A value as two columns: SQLite has no NaN, and would keep it as NULL."""
    return (0.0, True) if math.isnan(value) else (value + 0.0, False)


def extend_digest(digest: str, step: int, value: float) -> str:
    """The digest of a series after one more point: SHA-256 of "<digest before> <step> <value>".

    The first one follows "". `value` is written by Python's shortest round-trip repr; nan, inf and -inf are words.
    The time is left out: the same work done twice gives the same digest.
    """
    return sha256_hex(f"{digest} {step} {value!r}")


def is_system(key: str) -> bool:
    """Whether the metric tells of the machine, and not of what was computed."""
    return key.startswith(SYSTEM)


def compute_run_digest(metrics: Iterable[Metric]) -> str:
    """The digest of every point of a run: SHA-256 of one line "<key> <count> <digest>" per metric, sorted by key.

    What the machine did is left out (keys that begin with `system/`): no two runs would be alike.
    A key is written as a JSON string; keys are compared by code point: a database sorts by the rules of its language.
    """
    lines = (
        f"{json.dumps(metric.key, ensure_ascii=False)} {metric.count} {metric.digest}\n"
        for metric in sorted(metrics, key=lambda m: m.key)
        if not is_system(metric.key)
    )
    return sha256_hex("".join(lines))


def count_run_points(metrics: Iterable[Metric]) -> int:
    """Count the points that compute_run_digest covers."""
    return sum(metric.count for metric in metrics if not is_system(metric.key))
