"""What a chart reads of metrics: every point of a short series, the buckets of a long one; never more than it can draw.

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
from apps.ml.experiments.filters.sql import Sql, rows_of
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

    def meets(self, first: int, last: int) -> bool:
        return (self.end is None or first <= self.end) and (self.start is None or last >= self.start)

    def holds(self, first: str, last: str) -> Q:
        """The condition that what spans `first` to `last` has a part in the window."""
        asked = Q() if self.end is None else Q(**{f"{first}__lte": self.end})
        return asked if self.start is None else asked & Q(**{f"{last}__gte": self.start})


Times = Mapping[str, tuple[datetime, datetime]]
"""Of each run only what was measured from then to then."""


def window_of(start: str, end: str) -> Window:
    """The window that a query asks for; Invalid for what is no step, or an end before the start."""
    found = Window(step_of(start, "from"), step_of(end, "to"))
    if found.start is not None and found.end is not None and found.end <= found.start:
        raise Invalid(
            "Step {end} is not behind step {start}.",
            end=found.end,
            start=found.start,
            field="to",
            limit="greater than from",
            hint=N_("Leave one of them out to see the line up to its end."),
        )
    return found


def step_of(text: str, name: str) -> int | None:
    if not text.strip():
        return None
    try:
        step = int(text.strip()[:20].replace(",", ""))
    except ValueError:
        step = STEP_LIMIT + 1
    if abs(step) > STEP_LIMIT:
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


def at_step(metric: Metric, step: int, at: datetime) -> float:
    return step


def at_time(metric: Metric, step: int, at: datetime) -> float:
    return at.timestamp()


def since(starts: Mapping[str, datetime]) -> Place:
    """Seconds since the run of the metric began."""
    return lambda metric, step, at: (at - starts[metric.run_id]).total_seconds()


def room_of(lines: int) -> int:
    """Points that each of so many lines may have."""
    return min(DRAWN, DRAWN_TOGETHER // max(1, lines))


def lines_of(
    metrics: Sequence[Metric], *, place: Place = at_step, window: Window | None = None, times: Times | None = None
) -> list[Line]:
    """The lines of these metrics, in their order. `times` are for an axis of time, and without a window."""
    window, room = window or Window(), room_of(len(metrics))
    levels = levels_of(metrics, room, window) if times is None else levels_in_time(metrics, room, times)
    lines = {metric.pk: Line(metric, thinned=metric.pk in levels) for metric in metrics}
    for pk, step, value, at in points_in([metric for metric in metrics if metric.pk not in levels], window, times):
        add_point(lines[pk], place, step, value, at)
    for pk, buckets in buckets_in(metrics, levels, window).items():
        # Along the steps they follow each other by them; in time as they came, or what has no place is a gap elsewhere.
        for bucket in sorted(buckets, key=lambda one: one.first_step) if place is at_step else buckets:
            add_bucket(lines[pk], place, bucket)
    for line in lines.values():
        close(line, place, window)
        if times is not None:
            cut(line, *(place(line.metric, line.metric.step, at) for at in times[line.metric.run_id]))
    return list(lines.values())


# -- which part, and how fine ---------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class Part:
    """The buckets of this level whose ends are behind `after`, up to `upto`."""

    level: int
    after: int = 0
    upto: int = 2**62


def levels_of(metrics: Sequence[Metric], room: int, window: Window) -> dict[int, Part]:
    """{metric: which buckets to draw} of those that have more points in the window than there is room for."""
    found = {
        metric.pk: Part(downsampling.level_for(metric.count, room // 2)) for metric in metrics if metric.count > room
    }
    for _round in range(ROUNDS if window else 0):
        asked = MetricBucket.objects.filter(named(found), window.holds("first_step", "last_step")).order_by()
        held = asked.values("metric_id").annotate(held=Sum("count"), first=Min("upto"), last=Max("upto"))
        spans = {row["metric_id"]: row for row in (held if found else ())}
        parts = {
            metric.pk: finer(metric, found[metric.pk], spans.get(metric.pk), room, window)
            for metric in metrics
            if metric.pk in found
        }
        found = {pk: part for pk, part in parts.items() if part is not None}
    return found


def finer(metric: Metric, part: Part, span: Mapping[str, Any] | None, room: int, window: Window) -> Part | None:
    """The part of one series that the window shows; None where its points fit, and are read themselves."""
    rest = downsampling.tail(downsampling.read(metric.open_buckets), part.level)
    behind = sum(bucket.count for bucket in rest if window.meets(bucket.first_step, bucket.last_step))
    held = (span["held"] if span else 0) + behind
    if held <= room:
        return None
    after = span["first"] - downsampling.size_of(part.level) if span else metric.count
    upto = 2**62 if behind or span is None else span["last"]
    return Part(min(part.level, downsampling.level_for(held, room // 2)), after, upto)


# How many points of a metric are from then to then, counted as far as is asked.
COUNT = """
SELECT %s, COUNT(*) FROM (
    SELECT 1 FROM experiments_metricpoint WHERE metric_id = %s AND at >= %s AND at <= %s ORDER BY at LIMIT %s
) AS few
"""


def levels_in_time(metrics: Sequence[Metric], room: int, times: Times) -> dict[int, Part]:
    """As levels_of, of what was measured in these times. A bucket tells when its extremes were, not when it began: so
    the bucket before the first of which one is inside may reach into the times, and so may the one behind the last.
    """
    long = {metric.pk: metric for metric in metrics if metric.count > room}
    if not long:
        return {}
    stored = connection.ops.adapt_datetimefield_value
    asked = [(pk, pk, *map(stored, times[metric.run_id]), room + 1) for pk, metric in long.items()]
    counts = rows_of(Sql(" UNION ALL ".join([COUNT] * len(asked)), tuple(value for one in asked for value in one)))
    found = {pk: Part(downsampling.level_for(long[pk].count, room // 2)) for pk, count in counts if count > room}
    for _round in range(ROUNDS if found else 0):
        of = {pk: Q(metric=pk) for pk in found}
        since = (of[pk] & extreme("gte", times[long[pk].run_id][0]) for pk in found)
        until = (of[pk] & extreme("lte", times[long[pk].run_id][1]) for pk in found)
        ends = {
            "first": Min("upto", filter=functools.reduce(operator.or_, since)),
            "last": Max("upto", filter=functools.reduce(operator.or_, until)),
        }
        rows = MetricBucket.objects.filter(named(found)).order_by().values("metric_id").annotate(**ends)
        spans = {row["metric_id"]: row for row in rows}
        found = {pk: around(long[pk].count, part, spans.get(pk, {}), room) for pk, part in found.items()}
    return found


def extreme(lookup: str, at: datetime) -> Q:
    return Q(**{f"lowest_at__{lookup}": at}) | Q(**{f"highest_at__{lookup}": at})


def around(count: int, part: Part, span: Mapping[str, int | None], room: int) -> Part:
    """The part of one series from the bucket before `first`, which has an extreme behind the beginning, to the one
    behind `last`, which has one before the end; as fine as there is room.
    """
    size = downsampling.size_of(part.level)
    full = count // size * size
    first, last = span.get("first") or min(part.upto, full) + size, span.get("last") or part.after
    after, upto = max(part.after, min(first - 2 * size, last - size)), min(part.upto, max(last + size, first))
    level = downsampling.level_for(min(upto, count) - after, room // 2)
    return Part(min(part.level, level), after, upto if upto <= full else 2**62)


def named(parts: Mapping[int, Part]) -> Q:
    asked = [Q(metric=pk, level=one.level, upto__gt=one.after, upto__lte=one.upto) for pk, one in parts.items()]
    return functools.reduce(operator.or_, asked, Q(pk__in=()))


# -- reading --------------------------------------------------------------------------------------------------------
def points_in(
    metrics: Sequence[Metric], window: Window, times: Times | None
) -> Iterable[tuple[int, int, float, datetime]]:
    """(metric, step, value, at) of every point of these in the window, by step, or in the times, by time."""
    if not metrics:
        return
    found = MetricPoint.objects.filter(window.holds("step", "step"))
    if times is None:
        found = found.filter(metric__in=metrics).order_by("metric_id", "step", "id")
    else:  # in the order of the index that has the times
        own = (Q(metric=one.pk, at__range=times[one.run_id]) for one in metrics)
        found = found.filter(functools.reduce(operator.or_, own)).order_by("metric_id", "at", "step", "id")
    rows = found.values_list("metric_id", "step", "value", "is_nan", "at")
    for pk, step, value, is_nan, at in rows:
        yield pk, step, math.nan if is_nan else value, at


BUCKET = ("metric_id", *downsampling.FIELDS)


def buckets_in(metrics: Sequence[Metric], parts: Mapping[int, Part], window: Window) -> dict[int, list[Bucket]]:
    """{metric: the buckets of its part}, as they came."""
    if not parts:
        return {}
    found: dict[int, list[Bucket]] = defaultdict(list)
    rows = MetricBucket.objects.filter(named(parts), window.holds("first_step", "last_step"))
    for pk, *values in rows.order_by("metric_id", "upto").values_list(*BUCKET):
        found[pk].append(downsampling.bucket_of(values))
    for metric in metrics:
        if metric.pk in parts:
            rest = downsampling.tail(downsampling.read(metric.open_buckets), parts[metric.pk].level)
            found[metric.pk] += [one for one in rest if window.meets(one.first_step, one.last_step)]
    return found


def add_point(line: Line, place: Place, step: int, value: float, at: datetime) -> None:
    where = place(line.metric, step, at)
    if math.isfinite(value):
        line.points.append((where, value))
        line.means.append((where, value, 1))
    else:
        line.points.append((where, None))
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


def close(line: Line, place: Place, window: Window) -> None:
    """Put what was added in the order of the axis: steps that a resumed run repeats came twice, an hour apart.

    A thinned line ends where the series does: its newest value is known without being asked for.
    """
    line.points.sort(key=WHERE)
    line.means.sort(key=WHERE)
    metric = line.metric
    end = place(metric, metric.step, metric.at)
    if not line.thinned or not window.meets(metric.step, metric.step) or (line.points and line.points[-1][0] >= end):
        return
    value = metric.number
    line.points.append((end, value if math.isfinite(value) else None))


def cut(line: Line, low: float, high: float) -> None:
    """Leave out what is beyond these places: buckets go beyond the times that were asked for."""
    line.points = [one for one in line.points if low <= one[0] <= high]
    line.means = [one for one in line.means if low <= one[0] <= high]
