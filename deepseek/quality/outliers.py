"""Outliers of one column of numbers: pure functions on float arrays of shape (n,), NaN meaning missing."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.floating[Any]]


@dataclass(frozen=True)
class Fences:
    """Values below `lower` or above `upper` are outliers. `note` says why there can be none, else it is empty."""

    lower: float
    upper: float
    note: str = ""

    def outside(self, values: Floats) -> npt.NDArray[np.bool_]:
        """Which of `values` lie outside; a missing value never does."""
        with np.errstate(invalid="ignore"):
            return np.asarray((values < self.lower) | (values > self.upper))


OPEN = Fences(-np.inf, np.inf, "no finite value")


def compute_iqr_fences(values: Floats, k: float = 1.5) -> Fences:
    """Tukey's fences: the quartiles q1 - k * (q3 - q1) and q3 + k * (q3 - q1).

    Quartiles by linear interpolation (numpy's default), over the finite values: an infinity is always outside.
    Source: J. W. Tukey, Exploratory Data Analysis, 1977. Where q1 = q3 every other value is an outlier.
    """
    finite = values[np.isfinite(values)].astype(np.float64)
    if finite.size == 0:
        return OPEN
    with np.errstate(over="ignore", invalid="ignore"):
        low, high = (float(q) for q in np.quantile(finite, (0.25, 0.75)))
    reach = k * (high - low)
    return build_fences(low - reach, high + reach)


def compute_robust_z_fences(values: Floats, threshold: float = 3.5) -> Fences:
    """Fences of the modified z-score |0.6745 * (x - median) / MAD| <= threshold, over the finite values.

    MAD is the median of |x - median|, and 0.6745 the 0.75 quantile of the normal distribution, which makes the score
    comparable to a z-score. Source: B. Iglewicz and D. Hoaglin, How to Detect and Handle Outliers, ASQC, 1993.
    With MAD = 0 (at least half of the values are equal) the score is undefined: no value is called an outlier, and
    the note says so.
    """
    finite = values[np.isfinite(values)].astype(np.float64)
    if finite.size == 0:
        return OPEN
    with np.errstate(over="ignore", invalid="ignore"):
        median = float(np.median(finite))
        mad = float(np.median(np.abs(finite - median)))
    if mad == 0:
        note = "at least half of the values are equal (their median absolute deviation is 0): no robust z-score"
        return Fences(-np.inf, np.inf, note)
    reach = threshold * mad / 0.6745
    return build_fences(median - reach, median + reach)


def compute_fences(method: str, values: Floats, threshold: float) -> Fences:
    """The fences of a method named as in the spec. Raises KeyError for another name."""
    return {"iqr": compute_iqr_fences, "robust_z": compute_robust_z_fences}[method](values, threshold)


def build_fences(lower: float, upper: float) -> Fences:
    """A fence that overflowed is infinite; not-a-number (inf - inf) leaves it open; no zero is negative."""
    return Fences(-np.inf if np.isnan(lower) else lower + 0.0, np.inf if np.isnan(upper) else upper + 0.0)
