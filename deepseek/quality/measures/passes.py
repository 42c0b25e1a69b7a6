"""What one pass over a column of numbers can do: select, count between edges, beyond fences, below values."""

import math
from copy import copy
from typing import Self

import numpy as np
import numpy.typing as npt

from deepseek.job import JSON
from deepseek.quality.measures.moments import Moments
from deepseek.quality.measures.selection import Floats, Interval, Selection, decode_sort_keys
from deepseek.quality.outliers import Fences

KNOTS, FEW_KNOTS = 100, 10
"""Of each column; of a table of more than MANY_COLUMNS columns the fewer, so that its report stays readable."""
MANY_COLUMNS = 1000


def build_share_lists(at: Floats, under: Floats, upto: Floats) -> JSON:
    """The share of finite values that are smaller than each of `at`, and that are not larger: exact."""
    lists: tuple[JSON, ...] = tuple([float(value) for value in each] for each in (at, under, upto))
    return dict(zip(("at", "under", "upto"), lists, strict=True))


class MeasurePass:
    """One pass over a column. A partition has a part of its own, which takes its batches and is merged."""

    def begin_part(self) -> Self:
        """This pass for one partition, with nothing taken."""
        raise NotImplementedError

    def merge(self, part: Self) -> None:
        """Take what a part has taken; parts come in the order of the rows."""
        raise NotImplementedError

    def take(self, values: Floats) -> None:
        """A batch, NaN for missing."""
        raise NotImplementedError

    def finish(self) -> None:
        pass


class CombinedPass(MeasurePass):
    def __init__(self, *parts: MeasurePass) -> None:
        self.passes = parts

    def begin_part(self) -> "CombinedPass":
        return CombinedPass(*(each.begin_part() for each in self.passes))

    def merge(self, part: "CombinedPass") -> None:
        for own, other in zip(self.passes, part.passes, strict=True):
            own.merge(other)

    def take(self, values: Floats) -> None:
        for part in self.passes:
            part.take(values)

    def finish(self) -> None:
        for part in self.passes:
            part.finish()


class SelectionPass(MeasurePass):
    """Feeds a selection with the finite values, or with their distances from `centre`."""

    def __init__(self, selection: Selection, centre: float | None = None) -> None:
        self.selection, self.centre = selection, centre

    def begin_part(self) -> "SelectionPass":
        return SelectionPass(self.selection.begin_part(samples=True), self.centre)

    def merge(self, part: "SelectionPass") -> None:
        self.selection.merge(part.selection)

    def take(self, values: Floats) -> None:
        finite = values[np.isfinite(values)]
        self.selection.take(finite if self.centre is None else np.abs(finite - self.centre))

    def finish(self) -> None:
        self.selection.end_pass()


class HistogramPass(MeasurePass):
    """Counts between the edges that np.histogram would choose of all values."""

    def __init__(self, moments: Moments) -> None:
        self.range = (moments.low, moments.high)
        self.counts: npt.NDArray[np.int64] | None = None
        self.edges: Floats | None = None
        for bins in (int(moments.few.size), 1):
            if not math.isfinite(moments.high - moments.low):
                return
            try:
                edges = np.histogram_bin_edges(np.empty(0), bins=bins, range=self.range)
                np.histogram(np.array(self.range), bins=bins, range=self.range)
            except ValueError:  # the range is too narrow for that many bins
                continue
            if np.isfinite(edges).all():
                self.edges, self.counts = edges, np.zeros(bins, dtype=np.int64)
                return

    def begin_part(self) -> "HistogramPass":
        part = copy(self)
        part.counts = None if self.counts is None else np.zeros_like(self.counts)
        return part

    def merge(self, part: "HistogramPass") -> None:
        if self.counts is not None and part.counts is not None:
            self.counts += part.counts

    def take(self, values: Floats) -> None:
        if self.counts is not None:
            finite = values[np.isfinite(values)]
            self.counts += np.histogram(finite, bins=self.counts.size, range=self.range)[0]

    def to_report(self) -> JSON:
        if self.counts is None or self.edges is None:
            return None
        return {"edges": [float(e) for e in self.edges], "counts": [int(c) for c in self.counts]}


class KnotsPass(MeasurePass):
    """Exact shares below and up to some values, between any two of which lies at most about a part of the rows."""

    def __init__(self, interval: Interval, moments: Moments, knots: int) -> None:
        self.moments, self.knots = moments, knots
        self.at = np.unique(np.concatenate([[moments.low, moments.high], _sample_knots(interval, knots)]))
        self.under = np.zeros(self.at.size + 1, dtype=np.int64)
        self.equal = np.zeros(self.at.size + 1, dtype=np.int64)

    def begin_part(self) -> "KnotsPass":
        part = copy(self)
        part.under, part.equal = np.zeros_like(self.under), np.zeros_like(self.equal)
        return part

    def merge(self, part: "KnotsPass") -> None:
        self.under += part.under
        self.equal += part.equal

    def take(self, values: Floats) -> None:
        finite = values[np.isfinite(values)]
        places = np.searchsorted(self.at, finite, side="left")
        self.under += np.bincount(places, minlength=self.under.size)
        same = self.at[np.minimum(places, self.at.size - 1)] == finite
        self.equal += np.bincount(places[same], minlength=self.equal.size)

    def to_report(self) -> JSON:
        upto_counts = np.cumsum(self.under)[: self.at.size]  # at knot i: all at or below it
        upto = upto_counts / self.moments.count
        under = (upto_counts - self.equal[: self.at.size]) / self.moments.count
        chosen = select_knots(under, upto, 1 / self.knots)
        return build_share_lists(self.at[chosen], under[chosen], upto[chosen])


def _sample_knots(interval: Interval, knots: int) -> Floats:
    """Values of the parts that lie a knot's share of the rows apart, and evenly spaced ones inside a part of more."""
    if interval.samples is None:
        return np.empty(0)
    ends = np.cumsum(interval.counts)
    places = np.unique(np.searchsorted(ends, np.linspace(0, int(ends[-1]) - 1, 2 * knots).astype(int), side="right"))
    parts = [decode_sort_keys(interval.samples[places])]  # where many numbers are equal, most likely this one
    shares = interval.counts[places] / max(1, int(ends[-1])) * knots
    for place, share in zip(places.tolist(), shares.tolist(), strict=True):
        if share > 0.5:
            low = interval.low + (place << interval.shift)
            high = min(interval.high, low + (1 << interval.shift) - 1)
            inside = np.linspace(low, high, math.ceil(2 * share) + 1).astype(np.uint64)
            parts.append(decode_sort_keys(inside))
    samples = np.concatenate(parts)
    return np.asarray(samples[np.isfinite(samples)])


def select_knots(under: Floats, upto: Floats, max_share: float) -> list[int]:
    """Select knots that keep the share between neighbours below `max_share` where possible; the ends stay."""
    chosen = [0]
    for place in range(1, upto.size):
        last = place == upto.size - 1
        if last or upto[place] - under[place] > max_share or under[place + 1] - upto[chosen[-1]] > max_share:
            if under[place] - upto[chosen[-1]] > max_share and chosen[-1] != place - 1:
                chosen.append(place - 1)
            chosen.append(place)
    return chosen


class OutlierPass(MeasurePass):
    def __init__(self, fences: Fences) -> None:
        self.fences, self.count = fences, 0

    def begin_part(self) -> "OutlierPass":
        return OutlierPass(self.fences)

    def merge(self, part: "OutlierPass") -> None:
        self.count += part.count

    def take(self, values: Floats) -> None:
        self.count += int(self.fences.outside(values).sum())
