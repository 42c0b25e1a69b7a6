"""The figures of a column of numbers: moments, quantiles, histogram, outliers, and how much lies below which value.

Columns that fit the budget are held, and measured as arrays. Beyond it the same figures come of several passes: all
of them exact. Mean and standard deviation are rounded once, and may differ from numpy's in the last digits.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from deepseek.job import JSON
from deepseek.quality.measures.moments import MAX_BINS, Moments
from deepseek.quality.measures.passes import (
    FEW_KNOTS,
    KNOTS,
    MANY_COLUMNS,
    CombinedPass,
    HistogramPass,
    KnotsPass,
    MeasurePass,
    OutlierPass,
    SelectionPass,
    build_share_lists,
)
from deepseek.quality.measures.selection import (
    MAX_VALUES_SORTED,
    PARTS_PER_INTERVAL,
    Floats,
    Interval,
    Selection,
    encode_sort_keys,
)
from deepseek.quality.outliers import Fences, compute_iqr_fences, compute_robust_z_fences

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
MAX_VALUES_IN_MEMORY = 2**22
"""Numbers that all columns together may hold to be measured as arrays: 32 MiB."""
WIDE_TABLE_COLUMNS = 64
"""Columns from which on each is counted into fewer parts, so that a wide table takes no more memory than a long one."""


class ValueBudget:
    """Numbers that may be held. Once they are too many, none are: every column then goes by passes."""

    def __init__(self, values: int = MAX_VALUES_IN_MEMORY) -> None:
        self.left = values

    def take(self, values: int) -> bool:
        self.left = self.left - values if self.left >= values else -1
        return self.left >= 0


class NumericMeasure:
    """Measures of a numeric column. `wants` is true while it needs another pass; `to_report` gives the figures."""

    def __init__(self, budget: ValueBudget, columns: int) -> None:
        self.budget = budget
        self.moments = Moments()
        self.values: list[Floats] | None = []
        self.values_taken = 0
        self.parts, self.max_sorted = (
            (PARTS_PER_INTERVAL, MAX_VALUES_SORTED) if columns <= WIDE_TABLE_COLUMNS else (2**12, 2**11)
        )
        self.knot_count = KNOTS if columns <= MANY_COLUMNS else FEW_KNOTS
        self.exact_ends: list[int] = []  # of integers, which a float may not hold
        self.next_step: Callable[[], MeasurePass | None] = self._start
        self.current: MeasurePass | None = None
        self.is_first_done = False
        self.results: dict[str, Any] = {}
        self.ranks: Callable[[Floats], Floats] | None = None
        self.exact_ranks = True

    # -- the first pass
    def first(self, values: Floats) -> None:
        """A batch of the first pass: float64 with NaN for missing."""
        self.moments.add(values)
        self.values_taken += values.size
        if self.values is None or not self.budget.take(values.size):
            self.values = None
        else:
            self.values.append(values[~np.isnan(values)])

    def merge(self, other: "NumericMeasure") -> None:
        """Take what another has of the first pass, of rows behind these."""
        self.moments.merge(other.moments)
        ends = [*self.exact_ends, *other.exact_ends]
        self.exact_ends = [min(ends), max(ends)] if ends else []
        if self.values is None or other.values is None or not self.budget.take(other.values_taken):
            self.values = None
            self.budget.left = -1
        else:
            self.values += other.values
        self.values_taken += other.values_taken

    def end_pass(self) -> None:
        """All batches were seen once."""
        if not self.is_first_done:
            self.is_first_done = True
            if self.moments.count == 0:
                return
            if self.values is not None and self.budget.left >= 0:
                self.results, self.ranks = measure_array(
                    np.concatenate(self.values) if self.values else np.empty(0), self.knot_count
                )
                self.values = None
                return
            self.values = None
        elif self.current is not None:
            self.current.finish()
        self.current = self.next_step()

    # -- the others
    @property
    def wants(self) -> bool:
        return self.current is not None

    def take(self, values: Floats) -> None:
        """A batch of a later pass."""
        if self.current is not None:
            self.current.take(values)

    def _start(self) -> "MeasurePass | None":
        self.counting = HistogramPass(self.moments)
        ranks = [rank for q in QUANTILES for rank in find_quantile_ranks(self.moments.count, q)]
        ranks += find_median_ranks(self.moments.count)
        self.selection = Selection(
            self.moments.low, self.moments.high, ranks, parts=self.parts, max_sorted=self.max_sorted
        )
        self.next_step = self._narrow
        return CombinedPass(self.counting, SelectionPass(self.selection))

    def _narrow(self) -> "MeasurePass | None":
        if not hasattr(self, "knots"):
            self.knots = KnotsPass(self.selection.first, self.moments, self.knot_count)
            self.ranks, self.exact_ranks = IntervalRanks(self.selection.first), False
            return CombinedPass(self.knots, SelectionPass(self.selection))
        if not self.selection.done:
            return SelectionPass(self.selection)
        return self._select_distances()

    def _select_distances(self) -> "MeasurePass | None":
        """Quantiles are known: count beyond the quartiles' fences, and select the median distance from the median."""
        values, count = self.selection.results, self.moments.count
        with np.errstate(over="ignore", invalid="ignore"):
            self.quantiles = {q: interpolate_quantile(values, count, q) for q in QUANTILES}
            self.median = float(np.mean([values[rank] for rank in sorted(set(find_median_ranks(count)))]))
            widest = max(self.moments.high - self.median, self.median - self.moments.low)
        self.iqr = build_iqr_fences(self.quantiles[0.25], self.quantiles[0.75])
        self.beyond = OutlierPass(self.iqr)
        self.next_step = self._count_robust_outliers
        self.far = None
        if not math.isfinite(widest):
            return self.beyond
        self.far = Selection(0.0, widest, find_median_ranks(count), parts=self.parts, max_sorted=self.max_sorted)
        return CombinedPass(self.beyond, SelectionPass(self.far, self.median))

    def _count_robust_outliers(self) -> "MeasurePass | None":
        if self.far is not None and not self.far.done:
            return SelectionPass(self.far, self.median)
        mad = math.inf
        if self.far is not None:
            mad = float(np.mean([self.far.results[rank] for rank in find_median_ranks(self.moments.count)]))
        self.robust = build_robust_z_fences(self.median, mad)
        self.beyond_robust = OutlierPass(self.robust)
        self.next_step = self._collect_results
        return self.beyond_robust

    def _collect_results(self) -> "MeasurePass | None":
        self.results = {
            "mean": convert_to_finite(self.moments.mean),
            "std": convert_to_finite(self.moments.std),
            "quantiles": {str(q): convert_to_finite(value) for q, value in self.quantiles.items()},
            "histogram": self.counting.to_report(),
            "outliers": {
                "iqr": build_outlier_report(self.iqr, self.beyond.count),
                "robust_z": build_outlier_report(self.robust, self.beyond_robust.count),
            },
            "below": self.knots.to_report(),
        }
        return None

    @property
    def varies(self) -> bool:
        """Whether it can correlate with anything: it has two values, and a finite mean and spread."""
        mean, std = self.moments.mean, self.moments.std
        return self.ranks is not None and std is not None and math.isfinite(mean) and 0 < std < math.inf

    # -- out
    def get_correlation_basis(self) -> tuple[float, float, Callable[[Floats], Floats]]:
        """Mean, standard deviation, and what ranks its values: what correlations are made of."""
        return self.moments.mean, self.moments.std or 1.0, self.ranks or keep_values

    def to_report(self, is_integer: bool) -> JSON:
        """Report the figures; None where no value is finite. `is_integer`: the extremes are reported as integers."""
        if self.moments.count == 0:
            return None
        low: Any = min(self.exact_ends) if is_integer and self.exact_ends else self.moments.low
        high: Any = max(self.exact_ends) if is_integer and self.exact_ends else self.moments.high
        order = ("mean", "std", "quantiles", "histogram")
        figures = {name: self.results[name] for name in order}
        ends = {"infinite": self.moments.infinite, "outliers": self.results["outliers"], "below": self.results["below"]}
        return {"min": low, "max": high, **figures, **ends}


def measure_array(values: Floats, knot_count: int = KNOTS) -> tuple[dict[str, Any], Callable[[Floats], Floats]]:
    """The figures of numbers that are in memory, infinities among them, and what ranks others among them."""
    finite = values[np.isfinite(values)]
    with np.errstate(over="ignore", invalid="ignore"):
        quantiles = np.quantile(finite, QUANTILES)
        std = float(finite.std(ddof=1)) if finite.size > 1 else None
        mean = float(finite.mean())
    iqr, robust = compute_iqr_fences(values), compute_robust_z_fences(values)
    different, counts = np.unique(finite, return_counts=True)
    upto = np.cumsum(counts)
    knots = np.unique(np.searchsorted(upto, np.linspace(0, finite.size - 1, knot_count + 1).astype(np.int64), "right"))
    middles = (upto - counts / 2 + 0.5) / finite.size

    results = {
        "mean": convert_to_finite(mean),
        "std": convert_to_finite(std),
        "quantiles": {str(q): convert_to_finite(float(v)) for q, v in zip(QUANTILES, quantiles, strict=True)},
        "histogram": compute_histogram(finite),
        "outliers": {
            "iqr": build_outlier_report(iqr, int(iqr.outside(values).sum())),
            "robust_z": build_outlier_report(robust, int(robust.outside(values).sum())),
        },
        "below": build_share_lists(different[knots], (upto - counts)[knots] / finite.size, upto[knots] / finite.size),
    }
    return results, ValueRanks(different, middles)


def find_quantile_ranks(count: int, q: float) -> tuple[int, int]:
    """Between which ranks, from 0, the quantile lies: the linear definition, numpy's default."""
    place = (count - 1) * q
    low = math.floor(place)
    return low, min(low + 1, count - 1)


def find_median_ranks(count: int) -> tuple[int, int]:
    """The two ranks whose mean is the median; one and the same of an odd number."""
    return (count - 1) // 2, count // 2


def interpolate_quantile(value_by_rank: dict[int, float], count: int, q: float) -> float:
    """Bit by bit what np.quantile says, which comes from the nearer side."""
    low, high = (np.float64(value_by_rank[rank]) for rank in find_quantile_ranks(count, q))
    part = (count - 1) * q - math.floor((count - 1) * q)
    apart = high - low
    return float(high - apart * (1 - part) if part >= 0.5 else low + apart * part)


def build_iqr_fences(low: float, high: float, k: float = 1.5) -> Fences:
    """`compute_iqr_fences`, from the quartiles."""
    with np.errstate(over="ignore", invalid="ignore"):
        reach = k * (np.float64(high) - np.float64(low))
        lower, upper = float(low - reach), float(high + reach)
    return Fences(-math.inf if math.isnan(lower) else lower, math.inf if math.isnan(upper) else upper)


def build_robust_z_fences(median: float, mad: float, threshold: float = 3.5) -> Fences:
    """`compute_robust_z_fences`, from the median and the median distance from it."""
    if mad == 0:
        return compute_robust_z_fences(np.zeros(1))  # which says why there are none
    reach = threshold * mad / 0.6745
    lower, upper = median - reach, median + reach
    return Fences(-math.inf if math.isnan(lower) else lower, math.inf if math.isnan(upper) else upper)


@dataclass(frozen=True)
class ValueRanks:
    """The rank of a number among values that are all there; ties share their middle."""

    different: Floats
    middles: Floats

    def __call__(self, sample: Floats) -> Floats:
        order = np.argsort(sample)  # looking up in order is several times faster than by chance
        ranks = np.empty(sample.size)
        ranks[order] = self.middles[np.searchsorted(self.different, sample[order])]
        return ranks


class IntervalRanks:
    """The rank of a number as the middle of its part of the interval: off by half of what lies in that part."""

    def __init__(self, interval: Interval) -> None:
        ends = np.cumsum(interval.counts)
        self.middles = (ends - interval.counts / 2 + 0.5) / max(1, int(ends[-1]))
        self.low, self.shift = np.uint64(interval.low), np.uint64(interval.shift)

    def __call__(self, sample: Floats) -> Floats:
        places = (encode_sort_keys(sample) - self.low) >> self.shift
        return np.asarray(self.middles[places.astype(np.int64)])


def keep_values(values: Floats) -> Floats:
    """The values as they are, where a column has no ranks."""
    return values


def build_outlier_report(fences: Fences, count: int) -> JSON:
    return {
        "count": count,
        "lower": convert_to_finite(fences.lower),
        "upper": convert_to_finite(fences.upper),
        "note": fences.note,
    }


def convert_to_finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def convert_to_float64(column: pa.Array) -> Floats:
    """Numbers as float64, NaN where there is none."""
    return np.asarray(column.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False), dtype=np.float64)


def compute_histogram(finite: Floats) -> JSON:
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
