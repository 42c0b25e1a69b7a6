"""The limits of outliers of a column of any length: the definitions of `deepseek.quality.outliers`, pass by pass."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from deepseek.clean.order_statistics import BatchSum, compute_median, compute_quantiles, count_finite
from deepseek.quality.outliers import OPEN, Fences, build_fences

ReadValues = Callable[[], Iterator[npt.NDArray[np.float64]]]
EQUAL = "at least half of the values are equal (their median absolute deviation is 0): no robust z-score"
ALL_EQUAL = "all values are equal (their standard deviation is 0): no z-score"


def compute_step_fences(step: Any, read: ReadValues) -> Fences:
    """The fences that a step asks for: its method and `limit()`, or its two quantiles. Non-finite values are out."""
    count = count_finite(read)
    if count == 0:
        return OPEN
    with np.errstate(over="ignore", invalid="ignore"):
        match step.method:
            case "iqr":
                low, high = compute_quantiles(read, (0.25, 0.75), count)
                reach = step.limit() * (high - low)
                return build_fences(low - reach, high + reach)
            case "quantile":
                low, high = compute_quantiles(read, (step.low, step.high), count)
                return build_fences(low, high)
            case "z_score":
                return _compute_z_score_fences(read, count, step.limit())
            case _:
                return _compute_robust_z_fences(read, count, step.limit())


def _compute_robust_z_fences(read: ReadValues, count: int, threshold: float) -> Fences:
    center = compute_median(read, count)

    def iter_deviations() -> Iterator[npt.NDArray[np.float64]]:
        return (np.abs(values[np.isfinite(values)] - center) for values in read())

    # Those beyond what a number holds are the largest: where they reach the middle, so does the median.
    mad = compute_median(iter_deviations, count) if count // 2 < count_finite(iter_deviations) else np.inf
    if mad == 0:
        return Fences(-np.inf, np.inf, EQUAL)
    reach = threshold * mad / 0.6745
    return build_fences(center - reach, center + reach)


def _compute_z_score_fences(read: ReadValues, count: int, threshold: float) -> Fences:
    """Mean and standard deviation (of the sample, divided by n - 1), in two passes."""
    first, second = BatchSum(), BatchSum()
    for values in read():
        first.add(values[np.isfinite(values)])
    mean = first.compute_total() / count
    for values in read():
        second.add((values[np.isfinite(values)] - mean) ** 2)
    deviation = float(np.sqrt(second.compute_total() / max(count - 1, 1)))
    if deviation == 0:
        return Fences(-np.inf, np.inf, ALL_EQUAL)
    return build_fences(mean - threshold * deviation, mean + threshold * deviation)
