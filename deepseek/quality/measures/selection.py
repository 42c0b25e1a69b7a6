"""Exact order statistics of more numbers than fit in memory, in a few passes over them.

Every float64 has a 64-bit image of the same order (M. Herf, Radix Tricks, 2001). A pass counts how many images lie in
each of 2**16 parts of an interval; the parts that hold a wanted rank are the intervals of the next one, until so few
are left that they are kept and sorted. At most five passes, usually two, whatever the numbers are.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import cast

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
SortKeys = npt.NDArray[np.uint64]

PARTS_PER_INTERVAL = 2**16
MAX_VALUES_SORTED = 2**17
"""Numbers of one column that are kept to be sorted: 1 MiB."""
_SIGN = np.uint64(1 << 63)


def encode_sort_keys(values: Floats) -> SortKeys:
    """The images of finite numbers; 0.0 and -0.0 have one."""
    bits = cast(SortKeys, (values + 0.0).view(np.uint64))
    return cast(SortKeys, bits ^ np.where(bits >> np.uint64(63), ~np.uint64(0), _SIGN))


def decode_sort_keys(keys: SortKeys) -> Floats:
    """The numbers that `encode_sort_keys` made these of."""
    return cast(Floats, (keys ^ np.where(keys >> np.uint64(63), _SIGN, ~np.uint64(0))).view(np.float64))


@dataclass
class Interval:
    """Images from `low` to `high`; `numbers_below` lie below. Either counted into parts, or kept.

    `samples`, of the first one, has of every part a number that lies in it.
    """

    low: int
    high: int
    numbers_below: int
    ranks: list[int]
    keep: bool
    parts: int
    size: int = 0
    counts: npt.NDArray[np.int64] = field(init=False)
    keys: list[SortKeys] = field(default_factory=list)
    samples: SortKeys | None = None

    def __post_init__(self) -> None:
        span = self.high - self.low
        self.shift = max(0, span.bit_length() - (self.parts.bit_length() - 1))
        self.counts = np.zeros(0 if self.keep else (span >> self.shift) + 1, dtype=np.int64)

    def take(self, keys: SortKeys) -> None:
        if self.keep:
            self.keys.append(keys)
        else:
            places = ((keys - np.uint64(self.low)) >> np.uint64(self.shift)).astype(np.int64)
            self.counts += np.bincount(places, minlength=self.counts.size)
            if self.samples is not None:
                self.samples[places] = keys


class Selection:
    """The numbers at `ranks` (from 0) of those that are given, all of them again in every pass, until `done`."""

    def __init__(
        self,
        low: float,
        high: float,
        ranks: Iterable[int],
        *,
        parts: int = PARTS_PER_INTERVAL,
        max_sorted: int = MAX_VALUES_SORTED,
    ) -> None:
        first, last = (int(key) for key in encode_sort_keys(np.array([low, high], dtype=np.float64)))
        self.parts, self.max_sorted = parts, max_sorted
        self.results: dict[int, float] = {}
        self.intervals = [Interval(first, last, 0, sorted(set(ranks)), False, parts)]
        self.is_first_pass = True
        self.first = self.intervals[0]
        self.first.samples = np.zeros(self.first.counts.size, dtype=np.uint64)

    @property
    def done(self) -> bool:
        return not self.intervals

    def take(self, values: Floats) -> None:
        """Some finite numbers of the pass."""
        keys = encode_sort_keys(values)
        for interval in self.intervals:
            if self.is_first_pass:
                interval.take(keys)
            else:
                interval.take(keys[(keys >= np.uint64(interval.low)) & (keys <= np.uint64(interval.high))])

    def begin_part(self, *, samples: bool = False) -> "Selection":
        """A selection for a part of the numbers of this pass: it takes them, and is merged. `samples`: with those."""
        part = object.__new__(Selection)
        part.parts, part.max_sorted, part.results = self.parts, self.max_sorted, {}
        part.is_first_pass = self.is_first_pass
        part.intervals = [replace(each, keys=[], samples=None) for each in self.intervals]
        part.first = part.intervals[0] if part.intervals else self.first
        if samples and self.is_first_pass:
            part.first.samples = np.zeros(part.first.counts.size, dtype=np.uint64)
        return part

    def merge(self, part: "Selection") -> None:
        """Take the numbers that a part has taken in this pass; parts come in the order of the rows."""
        for interval, other in zip(self.intervals, part.intervals, strict=True):
            interval.counts += other.counts
            interval.keys += other.keys
            if interval.samples is not None and other.samples is not None:
                interval.samples[other.counts > 0] = other.samples[other.counts > 0]

    def end_pass(self) -> None:
        """All were given: narrow the intervals, or answer."""
        narrowed: list[Interval] = []
        for interval in self.intervals:
            if interval.keep:
                ordered = np.sort(np.concatenate(interval.keys))
                for rank in interval.ranks:
                    self.results[rank] = float(
                        decode_sort_keys(ordered[rank - interval.numbers_below : rank - interval.numbers_below + 1])[0]
                    )
            else:
                narrowed += self._split_interval(interval)
        self.intervals, self.is_first_pass = narrowed, False
        self._keep_smallest()

    def _split_interval(self, interval: Interval) -> list[Interval]:
        ends = np.cumsum(interval.counts)
        places = np.searchsorted(ends, np.array(interval.ranks) - interval.numbers_below, side="right")
        intervals = []
        for place in np.unique(places).tolist():
            low = interval.low + (place << interval.shift)
            high = min(interval.high, low + (1 << interval.shift) - 1)
            ranks = [rank for rank, where in zip(interval.ranks, places.tolist(), strict=True) if where == place]
            if low == high:
                self.results |= dict.fromkeys(ranks, float(decode_sort_keys(np.array([low], dtype=np.uint64))[0]))
                continue
            before = interval.numbers_below + int(ends[place]) - int(interval.counts[place])
            intervals.append(Interval(low, high, before, ranks, False, self.parts, int(interval.counts[place])))
        return intervals

    def _keep_smallest(self) -> None:
        """Of the parts the smallest are kept, as many as may be."""
        left = self.max_sorted
        for place in sorted(range(len(self.intervals)), key=lambda place: self.intervals[place].size):
            interval = self.intervals[place]
            if interval.size > left:
                return
            left -= interval.size
            self.intervals[place] = Interval(
                interval.low, interval.high, interval.numbers_below, interval.ranks, True, self.parts
            )
