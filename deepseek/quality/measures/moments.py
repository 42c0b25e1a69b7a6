"""Mean, spread and extremes of numbers, exact whatever the batches and partitions.

Sums of values and of their squares are exact; a square is the sum of two float64 (T. J. Dekker, A Floating-Point
Technique for Extending the Available Precision, 1971). Mean and variance are rounded once.
"""

import math
from fractions import Fraction

import numpy as np

from deepseek.quality.measures.exact_sum import ExactSum
from deepseek.quality.measures.selection import Floats

MAX_BINS = 20
SPLITTER = 2.0**27 + 1
MAX_SQUARED = 2.0**500
"""Beyond it squares are taken as they are rounded: their rest would need numbers that overflow."""


class Moments:
    """Count, mean, standard deviation and extremes of finite numbers, batch by batch."""

    def __init__(self) -> None:
        self.count = self.infinite = 0
        self.low, self.high = math.inf, -math.inf
        self.few: Floats = np.empty(0)  # the different values, until they are MAX_BINS
        self._sum, self._squares = ExactSum(), ExactSum()

    def add(self, values: Floats) -> Floats:
        """Take numbers, NaN for missing; gives back the finite ones."""
        finite: Floats = values[np.isfinite(values)]
        self.infinite += int(np.isinf(values).sum())
        if not finite.size:
            return finite
        self._add_few(finite)
        self._sum.add(finite)
        for part in _square(finite):
            self._squares.add(part)
        self.count += finite.size
        self.low, self.high = min(self.low, float(finite.min())), max(self.high, float(finite.max()))
        return finite

    def merge(self, other: "Moments") -> None:
        """Take what another has taken."""
        self.count += other.count
        self.infinite += other.infinite
        self.low, self.high = min(self.low, other.low), max(self.high, other.high)
        self._add_few(other.few)
        self._sum.merge(other._sum)
        self._squares.merge(other._squares)

    def _add_few(self, values: Floats) -> None:
        if self.few.size < MAX_BINS:
            self.few = np.unique(np.concatenate([self.few, values]))[:MAX_BINS]

    @property
    def mean(self) -> float:
        """0 where there is no value; infinite where it exceeds a float64."""
        return _round(self._sum.compute_exact() / self.count) if self.count else 0.0

    @property
    def std(self) -> float | None:
        """The standard deviation of the sample (divided by n - 1); None of fewer than two values."""
        if self.count < 2:
            return None
        if not self._squares.is_finite:
            return math.inf
        total = self._sum.compute_exact()
        variance = (self._squares.compute_exact() - total * total / self.count) / (self.count - 1)
        return math.sqrt(max(0.0, _round(variance)))


def _square(values: Floats) -> tuple[Floats, Floats]:
    """Squares as rounded, and what rounding has left."""
    with np.errstate(over="ignore", invalid="ignore", under="ignore"):
        squares = values * values
        split = SPLITTER * values
        high = split - (split - values)
        low = values - high
        rest = ((high * high - squares) + 2.0 * high * low) + low * low
    rest[np.abs(values) > MAX_SQUARED] = 0.0
    return squares, rest


def _round(value: Fraction) -> float:
    try:
        return value.numerator / value.denominator
    except OverflowError:
        return math.inf if value > 0 else -math.inf
