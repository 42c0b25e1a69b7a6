"""Two series of one metric, point by point: where they part, and how far they get from each other."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from apps.ml.experiments.models import Metric, MetricPoint
from apps.ml.experiments.queries import batches_of
from apps.ml.experiments.serializers import said
from apps.ml.reruns.tolerance import Tolerance, apart

TOGETHER, METRICS_TOGETHER = 5000, 200  # points, and pairs of metrics, that are read at once


class Spent(Exception):
    """More points than may be read for this answer."""


class Interrupted(Exception):
    """Whoever reads has been asked to stop."""


@dataclass(slots=True)
class Budget:
    """How many points may be read, of both sides together; None: all there are. `stopping` is asked in between."""

    left: int | None = None
    stopping: Callable[[], bool] = lambda: False
    read: int = 0

    def spend(self, count: int) -> None:
        """Take note of `count` points. Raises Spent when there were fewer left, Interrupted when it is to stop."""
        if self.stopping():
            raise Interrupted
        self.read += count
        if self.left is not None:
            self.left -= count
            if self.left < 0:
                raise Spent


@dataclass(slots=True)
class Largest:
    """The largest of some differences, and where it was."""

    difference: float = 0.0
    step: int | None = None
    was: float | None = None
    now: float | None = None

    def see(self, difference: float, step: int, was: float, now: float) -> None:
        if difference > self.difference:
            self.difference, self.step, self.was, self.now = difference, step, was, now

    def as_dict(self) -> dict[str, Any]:
        return {"difference": said(self.difference), "step": self.step, "was": said(self.was), "now": said(self.now)}


@dataclass(slots=True)
class Walked:
    """What a walk along two series found."""

    pairs: int = 0  # points of the same step
    only_was: int = 0
    only_now: int = 0
    first_step: int | None = None  # at which they part
    outside: int = 0  # pairs that the tolerance does not cover
    complete: bool = True  # False: the budget was spent before the end
    absolute: Largest = field(default_factory=Largest)
    relative: Largest = field(default_factory=Largest)

    @property
    def same(self) -> bool:
        return self.first_step is None

    @property
    def within(self) -> bool:
        return not (self.outside or self.only_was or self.only_now)

    def part(self, step: int) -> None:
        if self.first_step is None:
            self.first_step = step

    def pair(self, step: int, was: float, now: float, tolerance: Tolerance) -> None:
        self.pairs += 1
        absolute, relative = apart(was, now)
        if not absolute:
            return
        self.part(step)
        self.absolute.see(absolute, step, was, now)
        self.relative.see(relative, step, was, now)
        self.outside += not tolerance.holds(was, now)


Pair = tuple[Metric, Metric]


def walk_all(pairs: Sequence[Pair], tolerance: Tolerance, budget: Budget) -> list[Walked]:
    """Along each pair, the short ones first; the answers in the order of `pairs`.

    Short series are read together, so that a thousand metrics of one point cost a query, not two thousand.
    """
    found: dict[int, Walked] = {}
    for group in grouped(sorted(range(len(pairs)), key=lambda place: length(pairs[place])), pairs):
        if len(group) == 1:
            found[group[0]] = walk(*pairs[group[0]], tolerance, budget)
        else:
            found |= dict(zip(group, walk_short([pairs[place] for place in group], tolerance, budget), strict=True))
    return [found[place] for place in range(len(pairs))]


def length(pair: Pair) -> int:
    return pair[0].count + pair[1].count


def grouped(places: Sequence[int], pairs: Sequence[Pair]) -> Iterator[list[int]]:
    """Places in groups of TOGETHER points at most; one that is longer stands alone."""
    group: list[int] = []
    total = 0
    for place in places:
        if group and (total + length(pairs[place]) > TOGETHER or len(group) == METRICS_TOGETHER):
            yield group
            group, total = [], 0
        group.append(place)
        total += length(pairs[place])
    if group:
        yield group


def walk_short(pairs: Sequence[Pair], tolerance: Tolerance, budget: Budget) -> Iterator[Walked]:
    """Along some pairs whose points fit into memory together. One query."""
    held: dict[int, list[tuple[int, float]]] = defaultdict(list)
    try:
        budget.spend(sum(map(length, pairs)))
    except Spent:
        yield from (Walked(complete=False) for _ in pairs)
        return
    rows = MetricPoint.objects.filter(metric__in=[one.pk for pair in pairs for one in pair]).order_by("step", "id")
    for metric, step, value, is_nan in rows.values_list("metric_id", "step", "value", "is_nan"):
        held[metric].append((step, math.nan if is_nan else value))
    for was, now in pairs:
        found = Walked()
        step_through(found, iter(held[was.pk]), iter(held[now.pk]), tolerance)
        yield found


def walk(was: Metric, now: Metric, tolerance: Tolerance, budget: Budget) -> Walked:
    """Both series in the order of their steps; points of the same step in the order they came."""
    found = Walked()
    try:
        step_through(found, points_of(was, budget), points_of(now, budget), tolerance)
    except Spent:
        found.complete = False
    return found


def step_through(
    found: Walked, before: Iterator[tuple[int, float]], after: Iterator[tuple[int, float]], tolerance: Tolerance
) -> None:
    one, other = next(before, None), next(after, None)
    while one is not None or other is not None:
        if other is None or (one is not None and one[0] < other[0]):
            found.only_was += 1
            found.part(one[0])  # type: ignore[index]  # not both are None
            one = next(before, None)
        elif one is None or other[0] < one[0]:
            found.only_now += 1
            found.part(other[0])
            other = next(after, None)
        else:
            found.pair(one[0], one[1], other[1], tolerance)
            one, other = next(before, None), next(after, None)


def points_of(metric: Metric, budget: Budget) -> Iterator[tuple[int, float]]:
    for batch in batches_of(metric):
        budget.spend(len(batch))
        for step, value, _at in batch:
            yield step, value
