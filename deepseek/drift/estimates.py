"""Estimates with intervals: shares, F1 and mean errors of a window.

Wilson (1927) for shares. F1 = 2J/(1 + J) with J = tp/(tp + fp + fn), so its interval is that of J, mapped. The mean of
F1 over classes by the delta method on the confusion matrix (Takahashi, Yamamoto, Kuchiba and Koyama 2022). Errors by
Student's t from their sums. All take the rows as independent.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtri, stdtrit

from deepseek.job import EngineError
from deepseek.messages import N_

LEVEL = 0.95


@dataclass(frozen=True)
class Estimate:
    """A value and its interval, from `count` rows. None: nothing to estimate from, or only one row of an error."""

    value: float | None
    low: float | None
    high: float | None
    count: int

    @classmethod
    def make_fixed(cls, value: float) -> Estimate:
        """A value that is given and not estimated."""
        return cls(value, value, value, 0)

    def to_dict(self) -> dict[str, float | int | None]:
        return {"value": self.value, "low": self.low, "high": self.high, "count": self.count}


NOTHING = Estimate(None, None, None, 0)


def check_counts(**counts: float) -> None:
    """Raises EngineError ``bad_count`` for a negative, infinite or undefined one."""
    for name, count in counts.items():
        if not (math.isfinite(count) and count >= 0):
            raise EngineError(
                "bad_count",
                N_("{name} has to be a number from 0 on."),
                name=name,
                field=f"/{name}",
                value=str(count),
                limit=0,
                hint=N_("Count the window again."),
            )


def estimate_share(cases: float, count: int, level: float = LEVEL) -> Estimate:
    """Wilson's interval of `cases` of `count`: accuracy, error rate, any share."""
    check_counts(cases=cases, count=count)
    if cases > count:
        raise EngineError(
            "bad_count",
            N_("There are more cases than rows."),
            field="/cases",
            value=str(cases),
            limit=count,
            hint=N_("Count the window again."),
        )
    if not count:
        return NOTHING
    low, high = compute_wilson_interval(cases, count, level)
    return Estimate(cases / count, low, high, count)


def compute_wilson_interval(cases: float, count: float, level: float) -> tuple[float, float]:
    z = float(ndtri(0.5 + level / 2))
    share, scale = cases / count, 1 + z**2 / count
    center = (share + z**2 / (2 * count)) / scale
    reach = z / scale * math.sqrt(share * (1 - share) / count + z**2 / (4 * count**2))
    return (0.0 if cases == 0 else max(0.0, center - reach)), (1.0 if cases == count else min(1.0, center + reach))


def estimate_f1(true_positives: int, false_positives: int, false_negatives: int, level: float = LEVEL) -> Estimate:
    """F1 of one class. Without any case of the class it is not defined."""
    check_counts(true_positives=true_positives, false_positives=false_positives, false_negatives=false_negatives)
    count = true_positives + false_positives + false_negatives
    if not count:
        return NOTHING
    low, high = compute_wilson_interval(true_positives, count, level)
    overlap = true_positives / count
    return Estimate(2 * overlap / (1 + overlap), 2 * low / (1 + low), 2 * high / (1 + high), count)


def estimate_macro_f1(confusion: Sequence[Sequence[int]], level: float = LEVEL) -> Estimate:
    """The mean of F1 over classes; `confusion[label][answer]` counts rows. A class without any case is left out."""
    matrix = np.asarray(confusion, dtype=np.float64)
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1] or not np.isfinite(matrix).all() or (matrix < 0).any():
        raise EngineError(
            "bad_confusion",
            N_("A confusion matrix is square and counts rows."),
            field="/confusion",
            value=str(matrix.shape),
            limit="n x n",
            hint=N_("Give a row for each label and a column for each answer, in the same order."),
        )
    count = int(matrix.sum())
    labels, answers, correct = matrix.sum(1), matrix.sum(0), np.diag(matrix)
    used = labels + answers > 0
    classes = int(used.sum())
    if not count or not classes:
        return NOTHING
    sums = np.where(used, labels + answers, 1.0)
    scores = np.where(used, 2 * correct / sums, 0.0)
    value = float(scores.sum() / classes)
    # The gradient by a cell's count: -F/(label + answer) for its label and for its answer; +2/(...) on the diagonal.
    slopes = np.where(used, scores / sums, 0.0)
    gradient = -(slopes[:, None] + slopes[None, :]) + np.diag(np.where(used, 2 / sums, 0.0))
    gradient *= count / classes
    shares = matrix / count
    variance = float(np.sum(shares * gradient**2) - np.sum(shares * gradient) ** 2) / count
    reach = float(ndtri(0.5 + level / 2)) * math.sqrt(max(0.0, variance))
    if variance <= 1e-15:  # every row right, or wrong: the interval of a share says how sure that is
        low, high = compute_wilson_interval(float(correct.sum()), count, level)
        return Estimate(value, min(low, value), max(high, value), count)
    return Estimate(value, max(0.0, value - reach), min(1.0, value + reach), count)


def estimate_mean(count: int, total: float, squares: float, level: float = LEVEL) -> Estimate:
    """The mean of errors from their count, sum and sum of squares."""
    check_counts(count=count, squares=squares)
    if not math.isfinite(total):
        check_counts(total=abs(total))
    if not count:
        return NOTHING
    mean = total / count
    if count == 1:
        return Estimate(mean, None, None, 1)
    variance = max(0.0, squares - count * mean**2) / (count - 1)
    reach = float(stdtrit(count - 1, 0.5 + level / 2)) * math.sqrt(variance / count)
    return Estimate(mean, mean - reach, mean + reach, count)
