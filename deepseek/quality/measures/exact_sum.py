"""Exact sums of float64: independent of the order of the values and of how they are partitioned.

Error-free extraction after Demmel and Hida (Accurate and Efficient Floating Point Summation, 2003) and Rump, Ogita and
Oishi (Accurate Floating-Point Summation, 2008): the leading bits of all values of a block are added without rounding,
then what is left of them. The total is an integer in units of the smallest float64, rounded once.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Self

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

BLOCK_VALUES = 2**16
SMALLEST_EXPONENT = 1074
"""The smallest positive float64 is 2**-1074."""
MAX_MAGNITUDE = 2.0**1000
"""Larger values are halved so often that adding a block of them cannot overflow."""
SCALING_EXPONENT = 64


class ExactSum:
    """The sum of the values that were added; infinities and NaN give what adding them gives."""

    def __init__(self) -> None:
        self._total = 0
        self._not_finite = 0.0
        self.count = 0

    def add(self, values: Floats) -> None:
        """Add values in float64, any number of them."""
        for start in range(0, values.size, BLOCK_VALUES):
            self._add_block(values[start : start + BLOCK_VALUES])

    def _add_block(self, values: Floats) -> None:
        self.count += values.size
        largest = float(np.abs(values).max())
        if not np.isfinite(largest):
            finite = np.isfinite(values)
            with np.errstate(invalid="ignore"):
                self._not_finite += float(values[~finite].sum())
            values = values[finite]
            largest = float(np.abs(values).max()) if values.size else 0.0
        if largest >= MAX_MAGNITUDE:
            large = np.abs(values) >= MAX_MAGNITUDE / 2.0**100
            self._extract(np.ldexp(values[large], -SCALING_EXPONENT), SCALING_EXPONENT)
            values = values[~large]
            largest = float(np.abs(values).max()) if values.size else 0.0
        self._extract(values, 0, largest)

    def _extract(self, values: Floats, scaling: int, largest: float | None = None) -> None:
        """Add values that are 2**scaling as large as they are given."""
        bits = values.size.bit_length()
        largest = float(np.abs(values).max(initial=0.0)) if largest is None else largest
        while largest:
            step = np.ldexp(1.0, int(np.frexp(largest)[1]) + bits)
            high = (values + step) - step
            numerator, denominator = float(high.sum()).as_integer_ratio()
            self._total += numerator << (SMALLEST_EXPONENT + scaling - denominator.bit_length() + 1)
            values = values - high
            largest = float(np.abs(values).max())

    def merge(self, other: ExactSum) -> Self:
        """Add what another has added."""
        self._total += other._total
        self._not_finite += other._not_finite
        self.count += other.count
        return self

    @property
    def is_finite(self) -> bool:
        """Whether no infinity and no NaN was added."""
        return self._not_finite == 0

    def compute_exact(self) -> Fraction:
        """The sum of the finite values as it is."""
        return Fraction(self._total, 1 << SMALLEST_EXPONENT)

    def compute_total(self) -> float:
        """The exact sum, rounded to the nearest float64; infinite where it exceeds them."""
        if self._not_finite != 0:
            return self._not_finite
        try:
            return self._total / (1 << SMALLEST_EXPONENT)
        except OverflowError:
            return float("inf") if self._total > 0 else float("-inf")
