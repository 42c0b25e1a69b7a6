"""The limits of outliers of a column of any length: the definitions of `deepseek.quality.outliers`, round by round."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from deepseek.clean.order_statistics import ReadPartition, count_rounds, median_rounds, quantile_rounds, sum_rounds
from deepseek.partitions.rounds import Rounds
from deepseek.quality.measures.selection import Floats
from deepseek.quality.outliers import OPEN, Fences, build_fences
from deepseek.tables.batches import Batches

EQUAL = "at least half of the values are equal (their median absolute deviation is 0): no robust z-score"
ALL_EQUAL = "all values are equal (their standard deviation is 0): no z-score"


def fence_rounds(step: Any, read: ReadPartition) -> Rounds[Fences]:
    """The fences that a step asks for: its method and `limit()`, or its two quantiles. Non-finite values are out."""

    def read_finite(source: Batches) -> Iterator[Floats]:
        return (values[np.isfinite(values)] for values in read(source))

    count = yield from count_rounds(read_finite)
    if count == 0:
        return OPEN
    match step.method:
        case "iqr":
            low, high = yield from quantile_rounds(read_finite, (0.25, 0.75), count)
            reach = step.limit() * (high - low)
            return build_fences(low - reach, high + reach)
        case "quantile":
            low, high = yield from quantile_rounds(read_finite, (step.low, step.high), count)
            return build_fences(low, high)
        case "z_score":
            return (yield from _z_score_rounds(read_finite, count, step.limit()))
        case _:
            return (yield from _robust_z_rounds(read_finite, count, step.limit()))


def _robust_z_rounds(read: ReadPartition, count: int, threshold: float) -> Rounds[Fences]:
    center = yield from median_rounds(read, count)

    def read_deviations(source: Batches) -> Iterator[Floats]:
        for values in read(source):
            with np.errstate(over="ignore"):
                deviations = np.abs(values - center)
            yield deviations

    # Those beyond what a number holds are the largest: where they reach the middle, so does the median.
    finite = yield from count_rounds(read_deviations)
    mad = (yield from median_rounds(read_deviations, count)) if count // 2 < finite else np.inf
    if mad == 0:
        return Fences(-np.inf, np.inf, EQUAL)
    reach = threshold * mad / 0.6745
    return build_fences(center - reach, center + reach)


def _z_score_rounds(read: ReadPartition, count: int, threshold: float) -> Rounds[Fences]:
    """Mean and standard deviation (of the sample, divided by n - 1), in two passes."""
    mean = (yield from sum_rounds(read)) / count

    def read_squares(source: Batches) -> Iterator[Floats]:
        for values in read(source):
            with np.errstate(over="ignore", invalid="ignore"):
                squares = (values - mean) ** 2
            yield squares

    deviation = float(np.sqrt((yield from sum_rounds(read_squares)) / max(count - 1, 1)))
    if deviation == 0:
        return Fences(-np.inf, np.inf, ALL_EQUAL)
    return build_fences(mean - threshold * deviation, mean + threshold * deviation)
