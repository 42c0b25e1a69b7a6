"""The rows below those of the metrics: their points and buckets, as whoever folds a series writes them.

Telemetry, exempt from the audit. The caller holds the lock of the run's row: no constraint of the database keeps points
from a metric that goes.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from apps.core.db.fast_sql import insert_many
from apps.ml.experiments.metrics import downsampling, series
from apps.ml.experiments.metrics.downsampling import FullBucket
from apps.ml.experiments.metrics.series import Point
from apps.ml.experiments.models import Metric, MetricBucket, MetricPoint

POINT = ("metric_id", "step", "value", "is_nan", "at")
MAX_POINTS_PER_BATCH = 1000
SUMMARY_COLUMNS = ("value", "is_nan", "step", "at", "first_step", "lowest", "lowest_step", "highest", "highest_step")
BUCKET = ("metric_id", "level", "upto", *downsampling.FIELDS)


def add_points(added: Iterable[tuple[Metric, Sequence[Point]]]) -> None:
    """Points of these metrics, in the order they came."""
    rows = (
        (metric.pk, step, *series.convert_for_storage(value), at)
        for metric, points in added
        for _key, value, step, at in points
    )
    insert_many(MetricPoint, POINT, rows)


def add_buckets(filled: Iterable[tuple[Metric, FullBucket]]) -> None:
    """Insert the buckets that `series.fold_points` filled for these metrics."""
    rows = ((metric.pk, full.level, full.upto, *downsampling.get_row_values(full.bucket)) for metric, full in filled)
    insert_many(MetricBucket, BUCKET, rows)
