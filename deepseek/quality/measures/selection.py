"""Exact order statistics of more numbers than fit in memory, in a few passes over them.

Every float64 has a 64-bit image of the same order (M. Herf, Radix Tricks, 2001). A pass counts how many images lie in
each of 2**16 parts of an interval; the parts that hold a wanted rank are the intervals of the next one, until so few
are left that they are kept and sorted. At most five passes, usually two, whatever the numbers are.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import cast

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Keys = npt.NDArray[np.uint64]

PARTS = 2**16
KEPT = 2**17
"""Numbers of one column that are kept to be sorted: 1 MiB."""
_SIGN = np.uint64(1 << 63)


def keys_of(values: Floats) -> Keys:
    """The images of finite numbers; 0.0 and -0.0 have one."""
    bits = cast(Keys, (values + 0.0).view(np.uint64))
    return cast(Keys, bits ^ np.where(bits >> np.uint64(63), ~np.uint64(0), _SIGN))


def values_of(keys: Keys) -> Floats:
    """The numbers that `keys_of` made these of."""
    return cast(Floats, (keys ^ np.where(keys >> np.uint64(63), _SIGN, ~np.uint64(0))).view(np.float64))


@dataclass
class Interval:
    """Images from `low` to `high`; `before` numbers lie below. Either counted into parts, or kept.

    `seen`, of the first one, has of every part a number that lies in it.
    """

    low: int
    high: int
    before: int
    ranks: list[int]
    keep: bool
    parts: int
    size: int = 0
    counts: npt.NDArray[np.int64] = field(init=False)
    kept: list[Keys] = field(default_factory=list)
    seen: Keys | None = None

    def __post_init__(self) -> None:
        span = self.high - self.low
        self.shift = max(0, span.bit_length() - (self.parts.bit_length() - 1))
        self.counts = np.zeros(0 if self.keep else (span >> self.shift) + 1, dtype=np.int64)

    def take(self, keys: Keys) -> None:
        if self.keep:
            self.kept.append(keys)
        else:
            places = ((keys - np.uint64(self.low)) >> np.uint64(self.shift)).astype(np.int64)
            self.counts += np.bincount(places, minlength=self.counts.size)
            if self.seen is not None:
                self.seen[places] = keys


class Selection:
    """The numbers at `ranks` (from 0) of those that are given, all of them again in every pass, until `done`."""

    def __init__(self, low: float, high: float, ranks: Iterable[int], *, parts: int = PARTS, kept: int = KEPT) -> None:
        first, last = (int(key) for key in keys_of(np.array([low, high], dtype=np.float64)))
        self.parts, self.most = parts, kept
        self.found: dict[int, float] = {}
        self.intervals = [Interval(first, last, 0, sorted(set(ranks)), False, parts)]
        self.whole = True
        self.first = self.intervals[0]
        self.first.seen = np.zeros(self.first.counts.size, dtype=np.uint64)

    @property
    def done(self) -> bool:
        return not self.intervals

    def take(self, values: Floats) -> None:
        """Some finite numbers of the pass."""
        keys = keys_of(values)
        for each in self.intervals:
            if self.whole:
                each.take(keys)
            else:
                each.take(keys[(keys >= np.uint64(each.low)) & (keys <= np.uint64(each.high))])

    def end_pass(self) -> None:
        """All were given: narrow the intervals, or answer."""
        narrowed: list[Interval] = []
        for each in self.intervals:
            if each.keep:
                ordered = np.sort(np.concatenate(each.kept))
                for rank in each.ranks:
                    self.found[rank] = float(values_of(ordered[rank - each.before : rank - each.before + 1])[0])
            else:
                narrowed += self._parts(each)
        self.intervals, self.whole = narrowed, False
        self._keep_few()

    def _parts(self, each: Interval) -> list[Interval]:
        ends = np.cumsum(each.counts)
        places = np.searchsorted(ends, np.array(each.ranks) - each.before, side="right")
        found = []
        for place in np.unique(places).tolist():
            low = each.low + (place << each.shift)
            high = min(each.high, low + (1 << each.shift) - 1)
            ranks = [rank for rank, where in zip(each.ranks, places.tolist(), strict=True) if where == place]
            if low == high:
                self.found |= dict.fromkeys(ranks, float(values_of(np.array([low], dtype=np.uint64))[0]))
                continue
            before = each.before + int(ends[place]) - int(each.counts[place])
            found.append(Interval(low, high, before, ranks, False, self.parts, int(each.counts[place])))
        return found

    def _keep_few(self) -> None:
        """Of the parts the smallest are kept, as many as may be."""
        left = self.most
        for place in sorted(range(len(self.intervals)), key=lambda place: self.intervals[place].size):
            each = self.intervals[place]
            if each.size > left:
                return
            left -= each.size
            self.intervals[place] = Interval(each.low, each.high, each.before, each.ranks, True, self.parts)
