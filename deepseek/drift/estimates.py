"""Estimates with intervals: shares, F1 and mean errors of a window.

Wilson (1927) for shares. F1 = 2J/(1 + J) with J = tp/(tp + fp + fn), so its interval is that of J, mapped. The mean of
F1 over classes by the delta method from the counts of each class, classes taken as independent: hours keep no confusion
matrix, which Takahashi, Yamamoto, Kuchiba and Koyama (2022) need. Errors by Student's t from their sums. All take the
rows as independent. Imports nothing heavy: web process, dispatcher and workers use this one code.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from statistics import NormalDist

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


@dataclass(slots=True)
class ClassTotals:
    """How often a class was answered, how often it was the label, how often both."""

    predicted: int = 0
    labelled: int = 0
    correct: int = 0


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
    z = compute_normal_quantile(level)
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


def estimate_macro_f1(classes: Iterable[ClassTotals], level: float = LEVEL) -> Estimate:
    """The mean of F1 over the classes that were answered or the label.

    The interval follows from the binomial variance of J of each class by the delta method. Answers are counted with and
    without a label: those of each class are scaled to the share that is labelled.
    """
    rows = [each for each in classes if each.predicted or each.labelled]
    for each in rows:
        check_counts(predicted=each.predicted, labelled=each.labelled, correct=each.correct)
    predicted, labelled = sum(each.predicted for each in rows), sum(each.labelled for each in rows)
    if not labelled:
        return NOTHING
    share = min(1.0, labelled / predicted) if predicted else 1.0
    total = variance = 0.0
    for each in rows:
        union = max(each.correct, share * each.predicted) + each.labelled - each.correct
        if not union:
            continue
        jaccard = min(1.0, each.correct / union)
        total += 2 * jaccard / (1 + jaccard)
        variance += (2 / (1 + jaccard) ** 2) ** 2 * jaccard * (1 - jaccard) / union
    value, reach = total / len(rows), compute_normal_quantile(level) * math.sqrt(variance) / len(rows)
    low, high = max(0.0, value - reach), min(1.0, value + reach)
    if variance <= 1e-15:  # every row right, or wrong: the interval of a share says how sure that is
        right = min(labelled, sum(each.correct for each in rows))
        low, high = compute_wilson_interval(right, labelled, level)
    return Estimate(value, min(low, value), max(high, value), labelled)


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
    reach = compute_student_quantile(level, count - 1) * math.sqrt(variance / count)
    return Estimate(mean, mean - reach, mean + reach, count)


@lru_cache(maxsize=16)
def compute_normal_quantile(level: float) -> float:
    """What a normal value lies within, to both sides, with the probability `level`: 1.96 at 0.95."""
    return NormalDist().inv_cdf(0.5 + level / 2)


@lru_cache(maxsize=1024)
def compute_student_quantile(level: float, freedom: int) -> float:
    """Likewise of Student's t. Beyond 100 degrees of freedom by Abramowitz and Stegun (1964), 26.7.5, whose error is
    below 1e-9 there; else their exact sums, 26.7.3 and 26.7.4, are solved."""
    z = compute_normal_quantile(level)
    if freedom > 100:
        terms = (
            (z**3 + z) / 4,
            (5 * z**5 + 16 * z**3 + 3 * z) / 96,
            (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
            (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92160,
        )
        return z + math.fsum(term / freedom**power for power, term in enumerate(terms, start=1))
    low, high = z, z
    while compute_student_share(high, freedom) < level:
        high *= 2
    for _ in range(80):
        middle = (low + high) / 2
        low, high = (middle, high) if compute_student_share(middle, freedom) < level else (low, middle)
    return (low + high) / 2


def compute_student_share(limit: float, freedom: int) -> float:
    """The probability that Student's t lies within +-limit."""
    angle = math.atan(limit / math.sqrt(freedom))
    sine, cosine = math.sin(angle), math.cos(angle)
    is_odd = freedom % 2
    term = cosine if is_odd else 1.0
    total = term if freedom > 1 else 0.0
    for step in range(2 + is_odd, freedom - 1, 2):
        term *= cosine**2 * (step - 1) / step
        total += term
    return 2 / math.pi * (angle + sine * total) if is_odd else sine * total
