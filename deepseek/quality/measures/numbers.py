"""The figures of a column of numbers: moments, quantiles, histogram, outliers, and how much lies below which value.

Columns that fit the budget are held, and measured as arrays. Beyond it the same figures come of several passes: all
of them exact but mean and standard deviation, which are merged batch by batch (T. F. Chan, G. H. Golub and
R. J. LeVeque, 1979) and may differ from numpy's in the last digits.
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa

from deepseek.job import JSON
from deepseek.quality.measures.moments import MAX_BINS, Moments
from deepseek.quality.measures.passes import FEW_KNOTS, KNOTS, MANY, Beyond, Both, Histogram, Knots, Pass, Select, below
from deepseek.quality.measures.selection import KEPT, PARTS, Floats, Interval, Selection, keys_of
from deepseek.quality.outliers import Fences, iqr_fences, robust_z_fences

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
HELD_VALUES = 2**22
"""Numbers that all columns together may hold to be measured as arrays: 32 MiB."""
WIDE = 64
"""Columns from which on each is counted into fewer parts, so that a wide table takes no more memory than a long one."""


class HeldBudget:
    """Numbers that may be held. Once they are too many, none are: every column then goes by passes."""

    def __init__(self, values: int = HELD_VALUES) -> None:
        self.left = values

    def take(self, values: int) -> bool:
        self.left = self.left - values if self.left >= values else -1
        return self.left >= 0


class Numbers:
    """One column of numbers. `wants` says whether it must see all batches once more, `told` what was found."""

    def __init__(self, budget: HeldBudget, columns: int) -> None:
        self.budget = budget
        self.moments = Moments()
        self.held: list[Floats] | None = []
        self.parts, self.kept = (PARTS, KEPT) if columns <= WIDE else (2**12, 2**11)
        self.knots_wanted = KNOTS if columns <= MANY else FEW_KNOTS
        self.exact_ends: list[int] = []  # of integers, which a float may not hold
        self.step: Callable[[], Pass | None] = self._begin
        self.now: Pass | None = None
        self.passed = False
        self.found: dict[str, Any] = {}
        self.ranks: Callable[[Floats], Floats] | None = None
        self.exact_ranks = True

    # -- the first pass
    def first(self, values: Floats) -> None:
        """A batch of the first pass: float64 with NaN for missing."""
        self.moments.add(values)
        if self.held is None or not self.budget.take(values.size):
            self.held = None
        else:
            self.held.append(values[~np.isnan(values)])

    def end_pass(self) -> None:
        """All batches were seen once."""
        if not self.passed:
            self.passed = True
            if self.moments.count == 0:
                return
            if self.held is not None and self.budget.left >= 0:
                self.found, self.ranks = of_array(
                    np.concatenate(self.held) if self.held else np.empty(0), self.knots_wanted
                )
                self.held = None
                return
            self.held = None
        elif self.now is not None:
            self.now.end()
        self.now = self.step()

    # -- the others
    @property
    def wants(self) -> bool:
        return self.now is not None

    def take(self, values: Floats) -> None:
        """A batch of a later pass."""
        if self.now is not None:
            self.now.take(values)

    def _begin(self) -> "Pass | None":
        self.counting = Histogram(self.moments)
        wanted = [rank for q in QUANTILES for rank in ranks_of(self.moments.count, q)]
        wanted += middle_of(self.moments.count)
        self.selection = Selection(self.moments.low, self.moments.high, wanted, parts=self.parts, kept=self.kept)
        self.step = self._narrow
        return Both(self.counting, Select(self.selection))

    def _narrow(self) -> "Pass | None":
        if not hasattr(self, "knots"):
            self.knots = Knots(self.selection.first, self.moments, self.knots_wanted)
            self.ranks, self.exact_ranks = mid_ranks_of_parts(self.selection.first), False
            return Both(self.knots, Select(self.selection))
        if not self.selection.done:
            return Select(self.selection)
        return self._distances()

    def _distances(self) -> "Pass | None":
        """Quantiles are known: count beyond the quartiles' fences, and select the median distance from the median."""
        found, count = self.selection.found, self.moments.count
        with np.errstate(over="ignore", invalid="ignore"):
            self.quantiles = {q: quantile_of(found, count, q) for q in QUANTILES}
            self.median = float(np.mean([found[rank] for rank in sorted(set(middle_of(count)))]))
            widest = max(self.moments.high - self.median, self.median - self.moments.low)
        self.iqr = iqr_of(self.quantiles[0.25], self.quantiles[0.75])
        self.beyond = Beyond(self.iqr)
        self.step = self._fenced
        self.far = None
        if not math.isfinite(widest):
            return self.beyond
        self.far = Selection(0.0, widest, middle_of(count), parts=self.parts, kept=self.kept)
        return Both(self.beyond, Select(self.far, self.median))

    def _fenced(self) -> "Pass | None":
        if self.far is not None and not self.far.done:
            return Select(self.far, self.median)
        mad = math.inf
        if self.far is not None:
            mad = float(np.mean([self.far.found[rank] for rank in middle_of(self.moments.count)]))
        self.robust = robust_of(self.median, mad)
        self.beyond_robust = Beyond(self.robust)
        self.step = self._end
        return self.beyond_robust

    def _end(self) -> "Pass | None":
        self.found = {
            "mean": finite_or_none(self.moments.mean),
            "std": finite_or_none(self.moments.std),
            "quantiles": {str(q): finite_or_none(value) for q, value in self.quantiles.items()},
            "histogram": self.counting.told(),
            "outliers": {
                "iqr": outliers(self.iqr, self.beyond.count),
                "robust_z": outliers(self.robust, self.beyond_robust.count),
            },
            "below": self.knots.told(),
        }
        return None

    @property
    def varies(self) -> bool:
        """Whether it can correlate with anything: it has two values, and a finite mean and spread."""
        mean, std = self.moments.mean, self.moments.std
        return self.ranks is not None and std is not None and math.isfinite(mean) and 0 < std < math.inf

    # -- out
    def basis(self) -> tuple[float, float, Callable[[Floats], Floats]]:
        """Mean, standard deviation, and what ranks its values: what correlations are made of."""
        return self.moments.mean, self.moments.std or 1.0, self.ranks or (lambda values: values)

    def told(self, whole: bool) -> JSON:
        """The figures; None where no value is finite. `whole`: integers, whose extremes are told as integers."""
        if self.moments.count == 0:
            return None
        low: Any = min(self.exact_ends) if whole and self.exact_ends else self.moments.low
        high: Any = max(self.exact_ends) if whole and self.exact_ends else self.moments.high
        order = ("mean", "std", "quantiles", "histogram")
        figures = {name: self.found[name] for name in order}
        ends = {"infinite": self.moments.infinite, "outliers": self.found["outliers"], "below": self.found["below"]}
        return {"min": low, "max": high, **figures, **ends}


def of_array(values: Floats, wanted: int = KNOTS) -> tuple[dict[str, Any], Callable[[Floats], Floats]]:
    """The figures of numbers that are in memory, infinities among them, and what ranks others among them."""
    finite = values[np.isfinite(values)]
    with np.errstate(over="ignore", invalid="ignore"):
        quantiles = np.quantile(finite, QUANTILES)
        std = float(finite.std(ddof=1)) if finite.size > 1 else None
        mean = float(finite.mean())
    iqr, robust = iqr_fences(values), robust_z_fences(values)
    different, counts = np.unique(finite, return_counts=True)
    upto = np.cumsum(counts)
    knots = np.unique(np.searchsorted(upto, np.linspace(0, finite.size - 1, wanted + 1).astype(np.int64), "right"))
    middles = (upto - counts / 2 + 0.5) / finite.size

    def ranked(others: Floats) -> Floats:
        order = np.argsort(others)  # looking up in order is several times faster than by chance
        ranks = np.empty(others.size)
        ranks[order] = middles[np.searchsorted(different, others[order])]
        return ranks

    found = {
        "mean": finite_or_none(mean),
        "std": finite_or_none(std),
        "quantiles": {str(q): finite_or_none(float(v)) for q, v in zip(QUANTILES, quantiles, strict=True)},
        "histogram": histogram(finite),
        "outliers": {
            "iqr": outliers(iqr, int(iqr.outside(values).sum())),
            "robust_z": outliers(robust, int(robust.outside(values).sum())),
        },
        "below": below(different[knots], (upto - counts)[knots] / finite.size, upto[knots] / finite.size),
    }
    return found, ranked


def ranks_of(count: int, q: float) -> tuple[int, int]:
    """Between which ranks, from 0, the quantile lies: the linear definition, numpy's default."""
    place = (count - 1) * q
    low = math.floor(place)
    return low, min(low + 1, count - 1)


def middle_of(count: int) -> tuple[int, int]:
    """The two ranks whose mean is the median; one and the same of an odd number."""
    return (count - 1) // 2, count // 2


def quantile_of(found: dict[int, float], count: int, q: float) -> float:
    """Bit by bit what np.quantile says, which comes from the nearer side."""
    low, high = (np.float64(found[rank]) for rank in ranks_of(count, q))
    part = (count - 1) * q - math.floor((count - 1) * q)
    apart = high - low
    return float(high - apart * (1 - part) if part >= 0.5 else low + apart * part)


def iqr_of(low: float, high: float, k: float = 1.5) -> Fences:
    """`iqr_fences`, from the quartiles."""
    with np.errstate(over="ignore", invalid="ignore"):
        reach = k * (np.float64(high) - np.float64(low))
        lower, upper = float(low - reach), float(high + reach)
    return Fences(-math.inf if math.isnan(lower) else lower, math.inf if math.isnan(upper) else upper)


def robust_of(median: float, mad: float, threshold: float = 3.5) -> Fences:
    """`robust_z_fences`, from the median and the median distance from it."""
    if mad == 0:
        return robust_z_fences(np.zeros(1))  # which says why there are none
    reach = threshold * mad / 0.6745
    lower, upper = median - reach, median + reach
    return Fences(-math.inf if math.isnan(lower) else lower, math.inf if math.isnan(upper) else upper)


def mid_ranks_of_parts(interval: Interval) -> Callable[[Floats], Floats]:
    """The rank of a number as the middle of its part of the interval: off by half of what lies in that part."""
    ends = np.cumsum(interval.counts)
    middles = (ends - interval.counts / 2 + 0.5) / max(1, int(ends[-1]))

    def ranked(others: Floats) -> Floats:
        places = (keys_of(others) - np.uint64(interval.low)) >> np.uint64(interval.shift)
        return np.asarray(middles[places.astype(np.int64)])

    return ranked


def outliers(fences: Fences, count: int) -> JSON:
    return {
        "count": count,
        "lower": finite_or_none(fences.lower),
        "upper": finite_or_none(fences.upper),
        "note": fences.note,
    }


def finite_or_none(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def floats_of(column: pa.Array) -> Floats:
    """Numbers as float64, NaN where there is none."""
    return np.asarray(column.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False), dtype=np.float64)


def histogram(finite: Floats) -> JSON:
    """At most MAX_BINS bins of equal width; None where the range overflows a float."""
    with np.errstate(over="ignore"):
        if not np.isfinite(finite.max() - finite.min()):
            return None
    bins = min(MAX_BINS, int(np.unique(finite).size))
    for count in (bins, 1):
        try:
            counts, edges = np.histogram(finite, bins=count)
        except ValueError:  # the range is too narrow for that many bins
            continue
        if np.isfinite(edges).all():
            return {"edges": [float(e) for e in edges], "counts": [int(c) for c in counts]}
    return None
