"""A series folded into the row of its metric: as one point after the other would have it, whatever the parts are."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from apps.ml.experiments.metrics import series
from apps.ml.experiments.metrics.series import Point
from apps.ml.experiments.models import Metric

BEGUN = datetime(2026, 1, 2, tzinfo=UTC)
VALUES = st.sampled_from([0.0, -0.0, 1.5, -3.0, 1e308, math.nan, math.inf, -math.inf]) | st.floats()
POINTS = st.lists(
    st.builds(
        lambda step, value, seconds: Point("loss", value, step, BEGUN + timedelta(seconds=seconds)),
        st.integers(-3, 9),
        VALUES,
        st.integers(0, 2),
    ),
    min_size=1,
    max_size=40,
)
COLUMNS = ("step", "at", "value", "is_nan", "first_step", "count", "digest")
EXTREMES = ("lowest", "lowest_step", "highest", "highest_step")


def folded(*parts):
    metric = Metric(key="loss")
    series.reset_metric(metric)
    for part in parts:
        series.fold_points(metric, part)
    return {name: getattr(metric, name) for name in (*COLUMNS, *EXTREMES, "open_buckets")}


def literal(points):
    """What the columns mean, written down as it is said."""

    def rank(point):
        value = point.value + 0.0
        return point.step, point.at, (0, 0.0) if math.isnan(value) else (1, value)

    newest = max(points, key=rank)
    numbers = [(point.value + 0.0, point.step) for point in points if not math.isnan(point.value)]
    lowest = min(numbers, key=lambda pair: pair[0], default=(None, None))
    highest = max(numbers, key=lambda pair: pair[0], default=(None, None))
    digest = ""
    for point in points:
        digest = series.extend_digest(digest, point.step, point.value + 0.0)
    newest_value, is_nan = series.convert_for_storage(newest.value)
    told = (newest.step, newest.at, newest_value, is_nan, min(point.step for point in points), len(points), digest)
    return dict(zip((*COLUMNS, *EXTREMES), (*told, *lowest, *highest), strict=True))


@given(POINTS)
def test_the_columns_are_what_they_are_said_to_be(points):
    found = folded(points)
    del found["open_buckets"]
    assert found == literal(points)


@given(POINTS, st.integers(0, 40))
def test_parts_do_not_matter(points, cut):
    assert folded(points[:cut], points[cut:]) == folded(points)
