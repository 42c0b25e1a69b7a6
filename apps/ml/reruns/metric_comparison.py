"""Compare the metrics of two runs by digest, then point by point where digests differ, and their figures."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeGuard

from apps.ml.experiments.models import Metric, Run
from apps.ml.experiments.presenters import get_metric_group
from apps.ml.experiments.serializers import serialize_number
from apps.ml.reruns.series import Budget, SeriesComparison, walk_all
from apps.ml.reruns.tolerance import Tolerance, compute_difference

MAX_ITEMS = 50  # metrics, and figures, that a document names; all of them are counted
# What a file weighs belongs to the outputs, which are compared byte by byte.
WEIGHTS = {"size_bytes", "size_ratio"}
TIMED = {"latency", "notes"}  # measured by the clock, and sentences about it: never twice the same
CLOCKED = "latency_"  # in front of the metrics of a quantization or compilation that the clock measured
MACHINE = "system"  # the group of what was measured of the machine


@dataclass(slots=True)
class RerunMetricComparison:
    """One metric on both sides, or on one; `walked` is None where the digests are equal, or a side is missing."""

    key: str
    was: Metric | None
    now: Metric | None
    walked: SeriesComparison | None = None

    @property
    def verdict(self) -> str:
        """identical, within_tolerance, different, or undecided where not all points could be read."""
        if self.was is None or self.now is None:
            return "different"
        if self.walked is None or (self.walked.same and self.walked.complete):
            return "identical"  # also points that came in another order
        if not self.walked.is_within_tolerance:
            return "different"  # also of a part of the points
        return "within_tolerance" if self.walked.complete else "undecided"

    @property
    def sort_key(self) -> tuple[bool, float]:
        """What stands first in a list of those that differ."""
        if self.walked is None:
            return True, 0.0
        return self.verdict == "different", self.walked.relative.difference

    def as_dict(self) -> dict[str, Any]:
        summary = {
            "key": self.key,
            "verdict": self.verdict,
            "was": serialize_number(self.was.number) if self.was else None,
            "now": serialize_number(self.now.number) if self.now else None,
            "was_count": self.was.count if self.was else 0,
            "now_count": self.now.count if self.now else 0,
        }
        walked = self.walked or SeriesComparison()
        return summary | {
            "first_step": walked.first_step,
            "compared": walked.pairs,
            "outside": walked.outside,
            "complete": walked.complete,
            "absolute": walked.absolute.as_dict(),
            "relative": walked.relative.as_dict(),
        }


def is_comparable(key: str) -> bool:
    """Whether a metric tells of the work: not of the clock, the machine, or the weight of a file."""
    return not key.startswith(CLOCKED) and get_metric_group(key) != MACHINE and key not in WEIGHTS


def compare_metrics(was: Run, now: Run, tolerance: Tolerance, budget: Budget) -> list[RerunMetricComparison]:
    """Every metric that either run has, by key. Points are read only of those whose digests differ, few first."""
    before = {metric.key: metric for metric in Metric.objects.filter(run=was) if is_comparable(metric.key)}
    after = {metric.key: metric for metric in Metric.objects.filter(run=now) if is_comparable(metric.key)}
    comparisons = [RerunMetricComparison(key, before.get(key), after.get(key)) for key in sorted({*before, *after})]
    unequal = [
        comparison
        for comparison in comparisons
        if comparison.was and comparison.now and comparison.was.digest != comparison.now.digest
    ]
    pairs = [(comparison.was, comparison.now) for comparison in unequal if comparison.was and comparison.now]
    for comparison, walked in zip(unequal, walk_all(pairs, tolerance, budget), strict=True):
        comparison.walked = walked
    return comparisons


@dataclass(frozen=True, slots=True)
class Figure:
    """One leaf of the figures that is not the same, for instance metrics.rmse.high."""

    path: str
    was: Any
    now: Any
    absolute: float | None = None  # None: not two numbers
    relative: float | None = None
    within: bool = False

    def as_dict(self) -> dict[str, Any]:
        return {
            "path": self.path,
            "was": self.was,
            "now": self.now,
            "absolute": serialize_number(self.absolute),
            "relative": serialize_number(self.relative),
            "within": self.within,
        }


@dataclass(slots=True)
class Figures:
    compared: int = 0
    differing: list[Figure] = field(default_factory=list)

    @property
    def is_within_tolerance(self) -> bool:
        return all(figure.within for figure in self.differing)


def compare_figures(was: Run, now: Run, tolerance: Tolerance) -> Figures:
    """Leaf by leaf, without times and weights: the same leaves must be there, and numbers within the tolerance."""
    before, after = dict(iter_leaves(was.figures)), dict(iter_leaves(now.figures))
    figures = Figures(compared=len({*before, *after}))
    for path in sorted({*before, *after}):
        old_value, new_value = before.get(path), after.get(path)
        if old_value == new_value and (path in before) == (path in after):
            continue
        if is_number(old_value) and is_number(new_value):
            absolute, relative = compute_difference(old_value, new_value)
            figures.differing.append(
                Figure(path, old_value, new_value, absolute, relative, tolerance.is_within(old_value, new_value))
            )
        else:
            figures.differing.append(Figure(path, old_value, new_value))
    return figures


def is_number(value: Any) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool)


def iter_leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """(path, value) of a document; an entry of a list goes by its name where it has one."""
    if isinstance(value, Mapping):
        for name in value:
            if name not in TIMED | WEIGHTS and not (path and name == "name"):
                yield from iter_leaves(value[name], f"{path}.{name}" if path else str(name))
    elif isinstance(value, list):
        for place, item in enumerate(value):
            name = item.get("name", place) if isinstance(item, Mapping) else place
            yield from iter_leaves(item, f"{path}.{name}")
    else:
        yield path, value
