"""Mean, spread and extremes of numbers, merged batch by batch."""

import math

import numpy as np

from deepseek.quality.measures.selection import Floats

MAX_BINS = 20


class Moments:
    """Count, mean, sum of squared deviations and extremes of finite numbers, batch by batch."""

    def __init__(self) -> None:
        self.count = self.infinite = 0
        self.mean = self.squares = 0.0
        self.low, self.high = math.inf, -math.inf
        self.few: Floats = np.empty(0)  # the different values, until they are MAX_BINS

    def add(self, values: Floats) -> Floats:
        """Take numbers, NaN for missing; gives back the finite ones."""
        finite: Floats = values[np.isfinite(values)]
        self.infinite += int(np.isinf(values).sum())
        if not finite.size:
            return finite
        if self.few.size < MAX_BINS:
            self.few = np.unique(np.concatenate([self.few, finite]))[:MAX_BINS]
        with np.errstate(over="ignore", invalid="ignore"):
            mean = float(finite.mean())
            squares = float(np.square(finite - mean).sum())
            apart, both = mean - self.mean, self.count + finite.size
            self.squares += squares + apart * apart * self.count * finite.size / both
            self.mean += apart * finite.size / both
        self.count += finite.size
        self.low, self.high = min(self.low, float(finite.min())), max(self.high, float(finite.max()))
        return finite

    @property
    def std(self) -> float | None:
        return math.sqrt(self.squares / (self.count - 1)) if self.count > 1 and self.squares >= 0 else None
