"""Corrections of p-values where many hypotheses are tested at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

Correction = Literal["holm", "benjamini_hochberg", "none"]


def correct_p_values(p_values: Sequence[float], method: Correction = "holm") -> list[float]:
    """Adjusted p-values in the same order: reject where one is at most alpha.

    Holm (1979) bounds the probability of any false rejection by alpha, however the tests depend on each other.
    Benjamini and Hochberg (1995) bound the expected share of false ones among the rejections, of tests that are
    independent or positively dependent.
    """
    p = np.asarray(p_values, dtype=np.float64)
    count = len(p)
    if method == "none" or not count:
        return [float(value) for value in p]
    order = np.argsort(p, kind="stable")
    ranks = np.arange(count)
    if method == "holm":
        adjusted = np.maximum.accumulate(p[order] * (count - ranks))
    else:
        adjusted = np.minimum.accumulate((p[order] * count / (ranks + 1))[::-1])[::-1]
    corrected = np.empty(count)
    corrected[order] = np.minimum(adjusted, 1.0)
    return [float(value) for value in corrected]
