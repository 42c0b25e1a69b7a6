"""Downsample a series as its points arrive, so that a chart of a million points reads a few hundred rows.

Every 8 points in the order they came make a bucket, every 4 buckets one of the next level, and so on. A bucket knows
its extremes with their steps, so none is lost at any level, and the mean of its points, so a smoothed line is nearly
that of all of them. Only full buckets are rows; those that are still open stand with the metric, one of each level.
Pure: nothing here asks the database.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from operator import attrgetter
from typing import Any

BASE = 8  # points of the smallest bucket: 1 row of these for 6 points, all levels together
FAN = 4


@dataclass(slots=True)
class Bucket:
    """Some points that came after each other. What no axis holds, NaN and the infinities, is counted as `odd`."""

    count: int = 0
    odd: int = 0
    total: float = 0.0
    first_step: int = 0
    last_step: int = 0
    lowest: float | None = None
    lowest_step: int = 0
    lowest_at: datetime | None = None
    highest: float | None = None
    highest_step: int = 0
    highest_at: datetime | None = None

    def add(self, step: int, value: float, at: datetime) -> None:
        if not self.count:
            self.first_step = self.last_step = step
        elif step > self.last_step:
            self.last_step = step
        elif step < self.first_step:
            self.first_step = step
        self.count += 1
        if not math.isfinite(value):
            self.odd += 1
            return
        self.total += value
        if self.lowest is None or value < self.lowest:
            self.lowest, self.lowest_step, self.lowest_at = value, step, at
        if self.highest is None or value > self.highest:
            self.highest, self.highest_step, self.highest_at = value, step, at

    def merge(self, other: Bucket) -> None:
        """Take in the bucket that came next."""
        if not other.count:
            return
        self.first_step = min(self.first_step, other.first_step) if self.count else other.first_step
        self.last_step = max(self.last_step, other.last_step) if self.count else other.last_step
        self.count, self.odd, self.total = self.count + other.count, self.odd + other.odd, self.total + other.total
        if other.lowest is not None and (self.lowest is None or other.lowest < self.lowest):
            self.lowest, self.lowest_step, self.lowest_at = other.lowest, other.lowest_step, other.lowest_at
        if other.highest is not None and (self.highest is None or other.highest > self.highest):
            self.highest, self.highest_step, self.highest_at = other.highest, other.highest_step, other.highest_at

    @property
    def mean(self) -> float | None:
        count = self.count - self.odd
        return self.total / count if count and math.isfinite(self.total) else None


FIELDS = tuple(Bucket.__dataclass_fields__)
ALL_OF = attrgetter(*FIELDS)
TOTAL = FIELDS.index("total")  # of the columns the only one that may lie beyond the numbers there are


@dataclass(frozen=True, slots=True)
class FullBucket:
    """A bucket that is full: `upto` counts the points of the metric up to its end."""

    level: int
    upto: int
    bucket: Bucket


def get_bucket_size(level: int) -> int:
    """How many points a full bucket of this level holds."""
    return BASE * int(FAN**level)


def take(open_: list[Bucket], count: int, points: Iterable[tuple[int, float, datetime]]) -> Iterator[FullBucket]:
    """Add points (step, value, at) to a metric of `count`; gives the buckets that they fill, `open_` keeps the rest."""
    for step, value, at in points:
        if not open_:
            open_.append(Bucket())
        open_[0].add(step, value, at)
        count += 1
        if count % BASE:
            continue
        level = 0
        while count % get_bucket_size(level) == 0:
            full, open_[level] = open_[level], Bucket()
            yield FullBucket(level, count, full)
            level += 1
            if level == len(open_):
                open_.append(Bucket())
            open_[level].merge(full)


def get_tail(open_: Sequence[Bucket], level: int) -> list[Bucket]:
    """The points behind the last full bucket of `level`, oldest first; the newest in the smallest buckets."""
    return [bucket for bucket in reversed(open_[: level + 1]) if bucket.count]


def find_level(count: int, room: int) -> int:
    """The finest level that covers `count` points with `room` buckets at most."""
    level = 0
    while count > get_bucket_size(level) * room:
        level += 1
    return level


def columns_of(bucket: Bucket) -> dict[str, Any]:
    """The columns of its row."""
    return dict(zip(FIELDS, get_row_values(bucket), strict=True))


def get_row_values(bucket: Bucket) -> tuple[Any, ...]:
    """The columns FIELDS of its row."""
    values: tuple[Any, ...] = ALL_OF(bucket)
    return values if math.isfinite(bucket.total) else (*values[:TOTAL], None, *values[TOTAL + 1 :])


def written(open_: Sequence[Bucket]) -> list[list[Any]]:
    """As the row of the metric keeps them: every number is finite, as JSON demands."""
    return [[serialize_value(getattr(bucket, name)) for name in FIELDS] for bucket in open_]


def build_bucket(values: Sequence[Any]) -> Bucket:
    """Build a bucket from its columns, or from what `written` returned, in the order of FIELDS."""
    values_by_field = dict(zip(FIELDS, values, strict=True))
    values_by_field["total"] = (
        math.inf if values_by_field["total"] is None else values_by_field["total"]
    )  # a sum beyond the numbers there are
    return Bucket(**values_by_field)


def serialize_value(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat()
    return value if not isinstance(value, float) or math.isfinite(value) else None


def read(rows: Sequence[Sequence[Any]]) -> list[Bucket]:
    """Parse what `written` returned."""
    buckets = []
    for row in rows:
        values = dict(zip(FIELDS, row, strict=True))
        for name in ("lowest_at", "highest_at"):
            values[name] = datetime.fromisoformat(values[name]) if values[name] else None
        buckets.append(build_bucket([values[name] for name in FIELDS]))
    return buckets
