"""Load the lines of a chart: all points of a short series, the buckets of a long one, never more than can be drawn.

Four queries at most, however many lines and points: how much of each long series is in the window (twice), its buckets,
and the points of what is short; a fifth for a window in time, which counts as far as there is room.
"""

from __future__ import annotations

import functools
import math
import operator
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from statistics import fmean
from typing import Any

from django.db import connection
from django.db.models import Max, Min, Q, Sum

from apps.core.errors import Invalid
from apps.core.request_values import parse_int
from apps.ml.experiments.filters.sql import Sql, fetch_rows
from apps.ml.experiments.metrics import downsampling
from apps.ml.experiments.metrics.downsampling import Bucket
from apps.ml.experiments.metrics.series import STEP_LIMIT
from apps.ml.experiments.models import Metric, MetricBucket, MetricPoint
from deepseek.messages import N_

DRAWN = 1000  # points of one line
DRAWN_TOGETHER = 8000  # points of all lines of a page
AXES = ("step", "relative", "time")
ROUNDS = 2  # of looking how much a window holds: the buckets at its ends reach beyond it, finer ones by less

WHERE = operator.itemgetter(0)
Place = Callable[[Metric, int, datetime], float]
"""Where on the axis a point of a metric stands."""


@dataclass(frozen=True, slots=True)
class Window:
    """Only these steps; an end that is None is open."""

    start: int | None = None
    end: int | None = None

    def __bool__(self) -> bool:
        return self.start is not None or self.end is not None

    def has_overlap(self, first: int, last: int) -> bool:
        return (self.end is None or first <= self.end) and (self.start is None or last >= self.start)

    def build_filter(self, first: str, last: str) -> Q:
        """The condition that what spans `first` to `last` has a part in the window."""
        condition = Q() if self.end is None else Q(**{f"{first}__lte": self.end})
        return condition if self.start is None else condition & Q(**{f"{last}__gte": self.start})


Times = Mapping[str, tuple[datetime, datetime]]
"""Of each run only what was measured from then to then."""


def parse_window(start: str, end: str) -> Window:
    """The window that a query asks for; Invalid for what is no step, or an end before the start."""
    window = Window(parse_step(start, "from"), parse_step(end, "to"))
    if window.start is not None and window.end is not None and window.end <= window.start:
        raise Invalid(
            "Step {end} is not behind step {start}.",
            end=window.end,
            start=window.start,
            field="to",
            limit="greater than from",
            hint=N_("Leave one of them out to see the line up to its end."),
        )
    return window


def parse_step(text: str, name: str) -> int | None:
    if not text.strip():
        return None
    step = parse_int(text.strip().replace(",", ""), -STEP_LIMIT, STEP_LIMIT)
    if step is None:
        raise Invalid(
            "{text!r} is no step.", text=text[:40], field=name, limit=f"a whole number, -{STEP_LIMIT} to {STEP_LIMIT}"
        )
    return step


@dataclass(slots=True)
class Line:
    """A metric as a chart draws it, along the axis. A value of None is a gap; `means` are (place, mean, points), to be
    smoothed.
    """

    metric: Metric
    points: list[tuple[float, float | None]] = field(default_factory=list)
    means: list[tuple[float, float, int]] = field(default_factory=list)
    thinned: bool = False  # each pair of points is the lowest and the highest value of some steps
    odd: int = 0  # points that are NaN or infinite


def locate_by_step(metric: Metric, step: int, at: datetime) -> float:
    return step


def locate_by_time(metric: Metric, step: int, at: datetime) -> float:
    return at.timestamp()


def build_relative_locator(starts: Mapping[str, datetime]) -> Place:
    """Seconds since the run of the metric began."""
    return lambda metric, step, at: (at - starts[metric.run_id]).total_seconds()


def compute_room(lines: int) -> int:
    """Return how many points each of `lines` lines may have."""
    return min(DRAWN, DRAWN_TOGETHER // max(1, lines))


def load_lines(
    metrics: Sequence[Metric],
    *,
    place: Place = locate_by_step,
    window: Window | None = None,
    times: Times | None = None,
) -> list[Line]:
    """The lines of these metrics, in their order. `times` are for an axis of time, and without a window."""
    window, room = window or Window(), compute_room(len(metrics))
    levels = select_levels(metrics, room, window) if times is None else select_levels_in_time(metrics, room, times)
    lines = {metric.pk: Line(metric, thinned=metric.pk in levels) for metric in metrics}
    for pk, step, value, at in iter_points([metric for metric in metrics if metric.pk not in levels], window, times):
        add_point(lines[pk], place, step, value, at)
    for pk, buckets in load_buckets(metrics, levels, window).items():
        # Along the steps they follow each other by them; in time as they came, or what has no place is a gap elsewhere.
        for bucket in sorted(buckets, key=lambda bucket: bucket.first_step) if place is locate_by_step else buckets:
            add_bucket(lines[pk], place, bucket)
    for line in lines.values():
        close_line(line, place, window)
        if times is not None:
            cut_line(line, *(place(line.metric, line.metric.step, at) for at in times[line.metric.run_id]))
    return list(lines.values())


# -- which part, and how fine ---------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class Part:
    """The buckets of this level whose ends are behind `after`, up to `upto`."""

    level: int
    after: int = 0
    upto: int = 2**62


def select_levels(metrics: Sequence[Metric], room: int, window: Window) -> dict[int, Part]:
    """{metric: which buckets to draw} of those that have more points in the window than there is room for."""
    selected = {
        metric.pk: Part(downsampling.find_level(metric.count, room // 2)) for metric in metrics if metric.count > room
    }
    for _round in range(ROUNDS if window else 0):
        buckets = MetricBucket.objects.filter(
            build_part_filter(selected), window.build_filter("first_step", "last_step")
        ).order_by()
        counts = buckets.values("metric_id").annotate(held=Sum("count"), first=Min("upto"), last=Max("upto"))
        spans = {row["metric_id"]: row for row in (counts if selected else ())}
        parts = {
            metric.pk: refine_part(metric, selected[metric.pk], spans.get(metric.pk), room, window)
            for metric in metrics
            if metric.pk in selected
        }
        selected = {pk: part for pk, part in parts.items() if part is not None}
    return selected


def refine_part(metric: Metric, part: Part, span: Mapping[str, Any] | None, room: int, window: Window) -> Part | None:
    """The part of one series that the window shows; None where its points fit, and are read themselves."""
    rest = downsampling.get_tail(downsampling.read(metric.open_buckets), part.level)
    open_count = sum(bucket.count for bucket in rest if window.has_overlap(bucket.first_step, bucket.last_step))
    count = (span["held"] if span else 0) + open_count
    if count <= room:
        return None
    after = span["first"] - downsampling.get_bucket_size(part.level) if span else metric.count
    upto = 2**62 if open_count or span is None else span["last"]
    return Part(min(part.level, downsampling.find_level(count, room // 2)), after, upto)


# How many points of a metric are from then to then, counted as far as is asked.
COUNT = """
SELECT %s, COUNT(*) FROM (
    SELECT 1 FROM experiments_metricpoint WHERE metric_id = %s AND at >= %s AND at <= %s ORDER BY at LIMIT %s
) AS few
"""


def select_levels_in_time(metrics: Sequence[Metric], room: int, times: Times) -> dict[int, Part]:
    """As select_levels, for what was measured in these times.

    A bucket tells when its extremes were, not when it began: so the bucket before the first of which one is inside may
    reach into the times, and so may the one behind the last.
    """
    long = {metric.pk: metric for metric in metrics if metric.count > room}
    if not long:
        return {}
    stored = connection.ops.adapt_datetimefield_value
    count_params = [(pk, pk, *map(stored, times[metric.run_id]), room + 1) for pk, metric in long.items()]
    counts = fetch_rows(
        Sql(
            " UNION ALL ".join([COUNT] * len(count_params)),
            tuple(value for row_params in count_params for value in row_params),
        )
    )
    parts = {pk: Part(downsampling.find_level(long[pk].count, room // 2)) for pk, count in counts if count > room}
    for _round in range(ROUNDS if parts else 0):
        of = {pk: Q(metric=pk) for pk in parts}
        after_start = (of[pk] & build_extreme_filter("gte", times[long[pk].run_id][0]) for pk in parts)
        before_end = (of[pk] & build_extreme_filter("lte", times[long[pk].run_id][1]) for pk in parts)
        ends = {
            "first": Min("upto", filter=functools.reduce(operator.or_, after_start)),
            "last": Max("upto", filter=functools.reduce(operator.or_, before_end)),
        }
        rows = MetricBucket.objects.filter(build_part_filter(parts)).order_by().values("metric_id").annotate(**ends)
        spans = {row["metric_id"]: row for row in rows}
        parts = {pk: expand_part(long[pk].count, part, spans.get(pk, {}), room) for pk, part in parts.items()}
    return parts


def build_extreme_filter(lookup: str, at: datetime) -> Q:
    return Q(**{f"lowest_at__{lookup}": at}) | Q(**{f"highest_at__{lookup}": at})


def expand_part(count: int, part: Part, span: Mapping[str, int | None], room: int) -> Part:
    """The part of one series from the bucket before `first`, which has an extreme behind the beginning, to the one
    behind `last`, which has one before the end; as fine as there is room.
    """
    size = downsampling.get_bucket_size(part.level)
    full = count // size * size
    first, last = span.get("first") or min(part.upto, full) + size, span.get("last") or part.after
    after, upto = max(part.after, min(first - 2 * size, last - size)), min(part.upto, max(last + size, first))
    level = downsampling.find_level(min(upto, count) - after, room // 2)
    return Part(min(part.level, level), after, upto if upto <= full else 2**62)


def build_part_filter(parts: Mapping[int, Part]) -> Q:
    conditions = [
        Q(metric=pk, level=part.level, upto__gt=part.after, upto__lte=part.upto) for pk, part in parts.items()
    ]
    return functools.reduce(operator.or_, conditions, Q(pk__in=()))


# -- reading --------------------------------------------------------------------------------------------------------
def iter_points(
    metrics: Sequence[Metric], window: Window, times: Times | None
) -> Iterable[tuple[int, int, float, datetime]]:
    """(metric, step, value, at) of every point of these in the window, by step, or in the times, by time."""
    if not metrics:
        return
    points = MetricPoint.objects.filter(window.build_filter("step", "step"))
    if times is None:
        points = points.filter(metric__in=metrics).order_by("metric_id", "step", "id")
    else:  # in the order of the index that has the times
        own = (Q(metric=metric.pk, at__range=times[metric.run_id]) for metric in metrics)
        points = points.filter(functools.reduce(operator.or_, own)).order_by("metric_id", "at", "step", "id")
    rows = points.values_list("metric_id", "step", "value", "is_nan", "at")
    for pk, step, value, is_nan, at in rows:
        yield pk, step, math.nan if is_nan else value, at


BUCKET = ("metric_id", *downsampling.FIELDS)


def load_buckets(metrics: Sequence[Metric], parts: Mapping[int, Part], window: Window) -> dict[int, list[Bucket]]:
    """{metric: the buckets of its part}, as they came."""
    if not parts:
        return {}
    by_metric: dict[int, list[Bucket]] = defaultdict(list)
    rows = MetricBucket.objects.filter(build_part_filter(parts), window.build_filter("first_step", "last_step"))
    for pk, *values in rows.order_by("metric_id", "upto").values_list(*BUCKET):
        by_metric[pk].append(downsampling.build_bucket(values))
    for metric in metrics:
        if metric.pk in parts:
            rest = downsampling.get_tail(downsampling.read(metric.open_buckets), parts[metric.pk].level)
            by_metric[metric.pk] += [
                bucket for bucket in rest if window.has_overlap(bucket.first_step, bucket.last_step)
            ]
    return by_metric


def add_point(line: Line, place: Place, step: int, value: float, at: datetime) -> None:
    position = place(line.metric, step, at)
    if math.isfinite(value):
        line.points.append((position, value))
        line.means.append((position, value, 1))
    else:
        line.points.append((position, None))
        line.odd += 1


def add_bucket(line: Line, place: Place, bucket: Bucket) -> None:
    """Its extremes where they were; a bucket without a number is a gap behind what came before it."""
    line.odd += bucket.odd
    low, high, low_at, high_at = bucket.lowest, bucket.highest, bucket.lowest_at, bucket.highest_at
    if low is None or high is None or low_at is None or high_at is None:
        if line.points:
            line.points.append((line.points[-1][0], None))
        return
    ends = [(place(line.metric, bucket.lowest_step, low_at), low_at, low)]
    if high != low:
        ends.append((place(line.metric, bucket.highest_step, high_at), high_at, high))
    ends.sort()
    line.points += [(where, value) for where, _at, value in ends]
    mean = bucket.mean
    if mean is not None:
        line.means.append((fmean(where for where, _at, _value in ends), mean, bucket.count - bucket.odd))


def close_line(line: Line, place: Place, window: Window) -> None:
    """Put what was added in the order of the axis: steps that a resumed run repeats came twice, an hour apart.

    A thinned line ends where the series does: its newest value is known without being asked for.
    """
    line.points.sort(key=WHERE)
    line.means.sort(key=WHERE)
    metric = line.metric
    end = place(metric, metric.step, metric.at)
    if (
        not line.thinned
        or not window.has_overlap(metric.step, metric.step)
        or (line.points and line.points[-1][0] >= end)
    ):
        return
    value = metric.number
    line.points.append((end, value if math.isfinite(value) else None))


def cut_line(line: Line, low: float, high: float) -> None:
    """Leave out what is beyond these places: buckets go beyond the times that were asked for."""
    line.points = [point for point in line.points if low <= point[0] <= high]
    line.means = [point for point in line.means if low <= point[0] <= high]
