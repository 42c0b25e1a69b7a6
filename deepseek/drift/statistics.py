"""Statistics of two sets of counts over the same bins or categories, with p-values where there are any.

Sources: KS: N. Smirnov (1948), here over the edges of the bins, where the limit is a Brownian bridge at their shares.
PSI: N. Siddiqi, Credit Risk Scorecards (2006); without drift about (1/n + 1/m) chi-square with bins - 1 degrees of
freedom (B. Yurdakul 2018). Chi-square of homogeneity: K. Pearson (1900), with Cochran's rule for small cells (1954).
Wasserstein: the area between the distribution functions (Vallender 1974). Shares: R. A. Fisher's exact test.
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any, TypeAlias

import numpy as np
from scipy.special import chdtrc, ndtr
from scipy.stats import hypergeom

Counts: TypeAlias = "np.ndarray[Any, np.dtype[np.int64]]"
Floats: TypeAlias = "np.ndarray[Any, np.dtype[np.float64]]"
MIN_EXPECTED = 5
"""Expected cases of a cell: those with fewer are counted together (Cochran)."""
MIN_SHARE = 1e-4
"""The least share of a bin in PSI: an empty one would make it infinite."""
EXACT_COUNT = 10_000
"""Up to so many cases of either side Fisher's test is exact; beyond, the normal test serves."""
FARTHEST_LIMIT = 2.5
"""Beyond it the tail of a bridge, 7e-6 at most, is bounded instead of integrated."""
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(48)


def compute_ks(reference: Counts, current: Counts) -> tuple[float, float]:
    """(distance, p-value) of the distribution functions at the edges of the bins.

    The p-value is asymptotic in the rows and exact in the bins: the probability that a Brownian bridge leaves the
    distance at one of the shares. Few bins, as of a feature with few values, are thus taken for what they are.
    """
    n, m = int(reference.sum()), int(current.sum())
    if not n or not m:
        return math.nan, math.nan
    first, second = np.cumsum(reference)[:-1] / n, np.cumsum(current)[:-1] / m
    distance = float(np.max(np.abs(first - second), initial=0.0))
    pooled = np.cumsum(reference + current)[:-1] / (n + m)
    return distance, compute_bridge_tail(pooled, distance * math.sqrt(n * m / (n + m)))


def compute_bridge_tail(times: Floats, limit: float) -> float:
    """The probability that a Brownian bridge is at or beyond +-limit at one of the times.

    Its density within the limits is carried from time to time by Gauss-Legendre quadrature, as deepseek.canary does for
    the boundaries of looks. Times closer than a hundredth are taken as one.
    """
    spread: Floats = np.sqrt(times * (1 - times))
    if limit <= 0.05 or not (spread > 0).any():
        return 1.0
    spread = spread[spread > 0]
    instants = [0.0]
    for time in times:
        if 0.01 <= time <= 0.99 and time - instants[-1] >= 0.01:
            instants.append(float(time))
    if len(instants) < 3 or limit > FARTHEST_LIMIT:  # bounds: of each time by itself, and of the whole bridge
        return float(min(1.0, np.sum(2 * ndtr(-limit / spread)), 2 * math.exp(-2 * limit**2)))
    nodes = limit * _NODES
    weights = limit * _WEIGHTS
    places: Floats = np.zeros(1)
    masses: Floats = np.ones(1)
    for before, after in pairwise(instants):
        means = places * (1 - after) / (1 - before)
        variance = (after - before) * (1 - after) / (1 - before)
        kernel = np.exp(-0.5 * np.square(nodes[:, None] - means[None, :]) / variance)
        masses = weights * (kernel @ masses) / math.sqrt(2 * math.pi * variance)
        places = nodes
    inside = float(masses.sum())
    return float(min(1.0, max(0.0, 1 - inside)))


def compute_psi(reference: Counts, current: Counts) -> tuple[float, float, int]:
    """(PSI, p-value, bins): bins with few expected cases are joined with the next one."""
    first, second = merge_small_cells(reference, current)
    if len(first) < 2:
        return (0.0, 1.0, len(first)) if len(first) else (math.nan, math.nan, 0)
    n, m = first.sum(), second.sum()
    p, q = np.maximum(first / n, MIN_SHARE), np.maximum(second / m, MIN_SHARE)
    psi = float(np.sum((q - p) * np.log(q / p)))
    return psi, float(chdtrc(len(first) - 1, psi / (1 / n + 1 / m))), len(first)


def compute_chi_square(reference: Counts, current: Counts) -> tuple[float, float, int]:
    """(statistic, p-value, degrees of freedom) of homogeneity; categories with few expected cases count together."""
    first, second = merge_small_cells(reference, current)
    n, m = int(first.sum()), int(second.sum())
    if not n or not m:
        return math.nan, math.nan, 0
    if len(first) < 2:
        return 0.0, 1.0, 0
    total = first + second
    expected_first, expected_second = total * (n / (n + m)), total * (m / (n + m))
    statistic = float(
        np.sum(np.square(first - expected_first) / expected_first)
        + np.sum(np.square(second - expected_second) / expected_second)
    )
    return statistic, float(chdtrc(len(first) - 1, statistic)), len(first) - 1


def merge_small_cells(reference: Counts, current: Counts) -> tuple[Counts, Counts]:
    """Join each cell that expects fewer than MIN_EXPECTED cases on either side with the next one, the last with the
    one before. Expectations come from both together, so that the choice does not depend on the difference."""
    n, m = int(reference.sum()), int(current.sum())
    if not n or not m:
        return reference[:0], current[:0]
    needed = MIN_EXPECTED * (n + m) / min(n, m)
    starts, filled = [0], 0
    total = (reference + current).tolist()
    for place, count in enumerate(total):
        filled += count
        if filled >= needed and place + 1 < len(total):
            starts.append(place + 1)
            filled = 0
    if len(starts) > 1 and filled < needed:
        starts.pop()
    return np.add.reduceat(reference, starts), np.add.reduceat(current, starts)


def compute_wasserstein(edges: Floats, reference: Counts, current: Counts, low: float, high: float) -> float | None:
    """The area between the distribution functions, in the feature's unit; None where nothing can be said.

    Within a bin the values are taken as spread evenly; the outer bins end at the least and greatest value of both.
    """
    n, m = int(reference.sum()), int(current.sum())
    if not n or not m or not math.isfinite(low) or not math.isfinite(high):
        return None
    marks = np.concatenate([[min(low, edges[0])], edges, [max(high, edges[-1])]])
    gaps = np.concatenate([[0.0], np.cumsum(reference) / n - np.cumsum(current) / m])
    gaps[-1] = 0.0
    widths = np.diff(marks)
    left, right = gaps[:-1], gaps[1:]
    crossing = left * right < 0
    with np.errstate(invalid="ignore", divide="ignore"):
        area = np.where(
            crossing,
            (np.square(left) + np.square(right)) / (2 * (np.abs(left) + np.abs(right))),
            (np.abs(left) + np.abs(right)) / 2,
        )
    return float(np.sum(area * widths))


def compare_shares(reference: int, n: int, current: int, m: int, *, one_sided: bool = False) -> float:
    """The p-value of Fisher's test that `current` of `m` is as `reference` of `n`; one-sided: that it is not more.

    The mid-p (Lancaster 1961): half of what was observed counts. With few cases the exact p-value lies far above what
    it states, since counts are discrete: of 5 % that are stated it rejects 2. With many cases, of the normal test with
    pooled variance.
    """
    if not n or not m:
        return math.nan
    cases = reference + current
    if cases in (0, n + m):
        return 1.0
    if min(cases, n + m - cases) <= EXACT_COUNT:
        law = hypergeom(n + m, cases, m)
        half = float(law.pmf(current)) / 2
        upper, lower = float(law.sf(current)) + half, float(law.cdf(current)) - half
    else:
        share = cases / (n + m)
        z = (current / m - reference / n) / math.sqrt(share * (1 - share) * (1 / n + 1 / m))
        upper, lower = float(ndtr(-z)), float(ndtr(z))
    return upper if one_sided else min(1.0, 2 * min(upper, lower))
