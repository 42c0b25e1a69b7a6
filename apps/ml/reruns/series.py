"""Compare two series of a metric point by point: the first differing step and the largest differences."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from apps.ml.experiments.models import Metric, MetricPoint
from apps.ml.experiments.queries import iter_point_batches
from apps.ml.experiments.serializers import serialize_number
from apps.ml.reruns.tolerance import Tolerance, compute_difference

MAX_POINTS_PER_QUERY, MAX_METRICS_PER_QUERY = 5000, 200  # points, and pairs of metrics, that are read at once


class BudgetExceeded(Exception):
    """More points than may be read for this answer."""


class Interrupted(Exception):
    """Whoever reads has been asked to stop."""


@dataclass(slots=True)
class Budget:
    """How many points may be read, of both sides together; None: all there are. `stopping` is asked in between."""

    left: int | None = None
    stopping: Callable[[], bool] = lambda: False
    read: int = 0

    def use(self, count: int) -> None:
        """Take note of `count` points. Raises Spent when there were fewer left, Interrupted when it is to stop."""
        if self.stopping():
            raise Interrupted
        self.read += count
        if self.left is not None:
            self.left -= count
            if self.left < 0:
                raise BudgetExceeded


@dataclass(slots=True)
class LargestDifference:
    """The largest of some differences, and where it was."""

    difference: float = 0.0
    step: int | None = None
    was: float | None = None
    now: float | None = None

    def see(self, difference: float, step: int, was: float, now: float) -> None:
        if difference > self.difference:
            self.difference, self.step, self.was, self.now = difference, step, was, now

    def as_dict(self) -> dict[str, Any]:
        return {
            "difference": serialize_number(self.difference),
            "step": self.step,
            "was": serialize_number(self.was),
            "now": serialize_number(self.now),
        }


@dataclass(slots=True)
class SeriesComparison:
    """What a walk along two series found."""

    pairs: int = 0  # points of the same step
    only_was: int = 0
    only_now: int = 0
    first_step: int | None = None  # at which they part
    outside: int = 0  # pairs that the tolerance does not cover
    complete: bool = True  # False: the budget was spent before the end
    absolute: LargestDifference = field(default_factory=LargestDifference)
    relative: LargestDifference = field(default_factory=LargestDifference)

    @property
    def same(self) -> bool:
        return self.first_step is None

    @property
    def is_within_tolerance(self) -> bool:
        return not (self.outside or self.only_was or self.only_now)

    def record_first_difference(self, step: int) -> None:
        if self.first_step is None:
            self.first_step = step

    def add_pair(self, step: int, was: float, now: float, tolerance: Tolerance) -> None:
        self.pairs += 1
        absolute, relative = compute_difference(was, now)
        if not absolute:
            return
        self.record_first_difference(step)
        self.absolute.see(absolute, step, was, now)
        self.relative.see(relative, step, was, now)
        self.outside += not tolerance.is_within(was, now)


Pair = tuple[Metric, Metric]


def walk_all(pairs: Sequence[Pair], tolerance: Tolerance, budget: Budget) -> list[SeriesComparison]:
    """Along each pair, the short ones first; the answers in the order of `pairs`.

    Short series are read together, so that a thousand metrics of one point cost a query, not two thousand.
    """
    results: dict[int, SeriesComparison] = {}
    for group in group_pairs(sorted(range(len(pairs)), key=lambda place: count_points(pairs[place])), pairs):
        if len(group) == 1:
            results[group[0]] = walk_pair(*pairs[group[0]], tolerance, budget)
        else:
            results |= dict(zip(group, walk_short([pairs[place] for place in group], tolerance, budget), strict=True))
    return [results[place] for place in range(len(pairs))]


def count_points(pair: Pair) -> int:
    return pair[0].count + pair[1].count


def group_pairs(places: Sequence[int], pairs: Sequence[Pair]) -> Iterator[list[int]]:
    """Places in groups of TOGETHER points at most; one that is longer stands alone."""
    group: list[int] = []
    total = 0
    for place in places:
        if group and (total + count_points(pairs[place]) > MAX_POINTS_PER_QUERY or len(group) == MAX_METRICS_PER_QUERY):
            yield group
            group, total = [], 0
        group.append(place)
        total += count_points(pairs[place])
    if group:
        yield group


def walk_short(pairs: Sequence[Pair], tolerance: Tolerance, budget: Budget) -> Iterator[SeriesComparison]:
    """Along some pairs whose points fit into memory together. One query."""
    points: dict[int, list[tuple[int, float]]] = defaultdict(list)
    try:
        budget.use(sum(map(count_points, pairs)))
    except BudgetExceeded:
        yield from (SeriesComparison(complete=False) for _ in pairs)
        return
    rows = MetricPoint.objects.filter(metric__in=[metric.pk for pair in pairs for metric in pair]).order_by(
        "step", "id"
    )
    for metric, step, value, is_nan in rows.values_list("metric_id", "step", "value", "is_nan"):
        points[metric].append((step, math.nan if is_nan else value))
    for was, now in pairs:
        comparison = SeriesComparison()
        compare_steps(comparison, iter(points[was.pk]), iter(points[now.pk]), tolerance)
        yield comparison


def walk_pair(was: Metric, now: Metric, tolerance: Tolerance, budget: Budget) -> SeriesComparison:
    """Both series in the order of their steps; points of the same step in the order they came."""
    comparison = SeriesComparison()
    try:
        compare_steps(comparison, iter_points(was, budget), iter_points(now, budget), tolerance)
    except BudgetExceeded:
        comparison.complete = False
    return comparison


def compare_steps(
    comparison: SeriesComparison,
    before: Iterator[tuple[int, float]],
    after: Iterator[tuple[int, float]],
    tolerance: Tolerance,
) -> None:
    old_point, new_point = next(before, None), next(after, None)
    while old_point is not None or new_point is not None:
        if new_point is None or (old_point is not None and old_point[0] < new_point[0]):
            comparison.only_was += 1
            comparison.record_first_difference(old_point[0])  # type: ignore[index]  # not both are None
            old_point = next(before, None)
        elif old_point is None or new_point[0] < old_point[0]:
            comparison.only_now += 1
            comparison.record_first_difference(new_point[0])
            new_point = next(after, None)
        else:
            comparison.add_pair(old_point[0], old_point[1], new_point[1], tolerance)
            old_point, new_point = next(before, None), next(after, None)


def iter_points(metric: Metric, budget: Budget) -> Iterator[tuple[int, float]]:
    for batch in iter_point_batches(metric):
        budget.use(len(batch))
        for step, value, _at in batch:
            yield step, value
