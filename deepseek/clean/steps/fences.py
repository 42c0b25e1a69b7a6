"""The limits of outliers of a column of any length: the definitions of `deepseek.quality.outliers`, pass by pass."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from deepseek.clean.order_statistics import Sum, count_finite, median, quantiles
from deepseek.quality.outliers import OPEN, Fences, build_fences

Read = Callable[[], Iterator[npt.NDArray[np.float64]]]
EQUAL = "at least half of the values are equal (their median absolute deviation is 0): no robust z-score"
ALL_EQUAL = "all values are equal (their standard deviation is 0): no z-score"


def fences_of(step: Any, read: Read) -> Fences:
    """The fences that a step asks for: its method and `limit()`, or its two quantiles. Non-finite values are out."""
    count = count_finite(read)
    if count == 0:
        return OPEN
    with np.errstate(over="ignore", invalid="ignore"):
        match step.method:
            case "iqr":
                low, high = quantiles(read, (0.25, 0.75), count)
                reach = step.limit() * (high - low)
                return build_fences(low - reach, high + reach)
            case "quantile":
                low, high = quantiles(read, (step.low, step.high), count)
                return build_fences(low, high)
            case "z_score":
                return _by_mean(read, count, step.limit())
            case _:
                return _by_median(read, count, step.limit())


def _by_median(read: Read, count: int, threshold: float) -> Fences:
    center = median(read, count)

    def deviations() -> Iterator[npt.NDArray[np.float64]]:
        return (np.abs(values[np.isfinite(values)] - center) for values in read())

    # Those beyond what a number holds are the largest: where they reach the middle, so does the median.
    mad = median(deviations, count) if count // 2 < count_finite(deviations) else np.inf
    if mad == 0:
        return Fences(-np.inf, np.inf, EQUAL)
    reach = threshold * mad / 0.6745
    return build_fences(center - reach, center + reach)


def _by_mean(read: Read, count: int, threshold: float) -> Fences:
    """Mean and standard deviation (of the sample, divided by n - 1), in two passes."""
    first, second = Sum(), Sum()
    for values in read():
        first.add(values[np.isfinite(values)])
    mean = first.total() / count
    for values in read():
        second.add((values[np.isfinite(values)] - mean) ** 2)
    deviation = float(np.sqrt(second.total() / max(count - 1, 1)))
    if deviation == 0:
        return Fences(-np.inf, np.inf, ALL_EQUAL)
    return build_fences(mean - threshold * deviation, mean + threshold * deviation)
