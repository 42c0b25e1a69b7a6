"""Boundaries of group-sequential tests, by the error-spending functions of Lan and DeMets.

Z_k sqrt(t_k) is a Brownian motion at the information t_k. Its density below the boundaries of the earlier looks is
carried from look to look by Gauss-Legendre quadrature (Armitage, McPherson and Rowe 1969; Jennison and Turnbull 2000,
chapter 19), and each boundary is where the error that the look may spend is spent. All tests are one-sided, upwards.

Lan and DeMets (1983), Discrete sequential boundaries for clinical trials, Biometrika 70. The time that spends and the
information that correlates may differ (Lan and DeMets 1989): the last look may spend what is left.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any, Literal, TypeAlias

import numpy as np
from scipy.optimize import brentq
from scipy.special import ndtr, ndtri

Floats: TypeAlias = "np.ndarray[Any, np.dtype[np.float64]]"
Family = Literal["pocock", "obrien_fleming"]

WIDEST = 12.0
"""No boundary lies beyond; where it would, nothing can cross, and it is infinite."""
SMALLEST_ERROR = 1e-30
REACH = 8.0
"""Standard deviations that the quadrature covers: beyond lies a mass of 1e-15."""
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(256)


def spend_error(family: Family, alpha: float, time: float) -> float:
    """The error that may be spent up to `time`, from 0 to 1, of the total `alpha` (one-sided)."""
    time = min(1.0, max(0.0, time))
    if time == 0:
        return 0.0
    if family == "pocock":
        return alpha * math.log1p((math.e - 1) * time)
    return float(2 * ndtr(ndtri(alpha / 2) / math.sqrt(time)))


@lru_cache(maxsize=512)
def compute_boundaries(
    information: tuple[float, ...], alpha: float, family: Family, spending: tuple[float, ...] | None = None
) -> tuple[float, ...]:
    """The boundary of Z at each look. `information` increases; only its ratios matter, unless `spending` is left out.

    A look that has nothing to spend has the boundary infinity.
    """
    times = information if spending is None else spending
    spent = 0.0
    boundaries: list[float] = []
    walk = _Walk()
    for level, time in zip(information, times, strict=True):
        walk.advance(level)
        increment = spend_error(family, alpha, time) - spent
        boundary = walk.find_boundary(increment)
        if math.isfinite(boundary):
            spent += increment
        boundaries.append(boundary)
        walk.stop_above(boundary)
    return tuple(boundaries)


def compute_crossing_probabilities(
    information: tuple[float, ...], boundaries: tuple[float, ...], drift: float = 0.0
) -> list[float]:
    """The probability that each look is the first to cross. `drift` is the mean of Z where the information is 1."""
    walk = _Walk(drift)
    probabilities = []
    for level, boundary in zip(information, boundaries, strict=True):
        walk.advance(level)
        probabilities.append(walk.compute_tail(boundary))
        walk.stop_above(boundary)
    return probabilities


class _Walk:
    """The density of the score Z sqrt(t) of what has not crossed, at the nodes of the last look."""

    def __init__(self, drift: float = 0.0) -> None:
        self.drift = drift
        self.level = self.step = 0.0
        self.nodes: Floats = np.zeros(1)
        self.masses: Floats = np.ones(1)  # density times weight

    def advance(self, level: float) -> None:
        self.step, self.level = math.sqrt(level - self.level), level
        self.means = self.nodes + self.drift * self.step**2

    def compute_tail(self, boundary: float) -> float:
        """How probable it is to be above `boundary` now, and below the boundaries before."""
        score = boundary * math.sqrt(self.level)
        return float(self.masses @ ndtr((self.means - score) / self.step))

    def find_boundary(self, error: float) -> float:
        if error < SMALLEST_ERROR or self.compute_tail(WIDEST) >= error:
            return math.inf
        return float(brentq(lambda z: self.compute_tail(z) - error, -WIDEST, WIDEST, xtol=1e-10))

    def stop_above(self, boundary: float) -> None:
        """Keep what lies below the boundary, at new nodes."""
        scale, center = math.sqrt(self.level), self.drift * self.level
        low, high = center - REACH * scale, min(boundary * scale, center + REACH * scale)
        half = max(0.0, (high - low) / 2)
        nodes = low + half * (_NODES + 1)
        deviations = (nodes[:, None] - self.means[None, :]) / self.step
        density = np.exp(-0.5 * deviations**2) @ self.masses / (self.step * math.sqrt(2 * math.pi))
        self.nodes, self.masses = nodes, density * _WEIGHTS * half
