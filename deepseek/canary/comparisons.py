"""Canary devices against control devices of the same strata: statistics and intervals.

A difference is "harm": positive where the canaries are worse. Arrays have the strata in their last dimension; those
before it are repetitions, which the simulation of benchmarks/canary.py needs. A statistic is a z whose tail is the
p-value of the test that it stands for, so that small samples keep their own distributions and the boundaries of the
group-sequential tests apply to all (Jennison and Turnbull 2000, section 3.3, the significance-level approach).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np
from scipy.optimize import brentq
from scipy.special import betainccinv, betaincinv, gammainc, gammaincc, ndtr, ndtri, stdtr
from scipy.stats import binom, hypergeom

Floats: TypeAlias = "np.ndarray[Any, np.dtype[np.float64]]"
GREATEST_Z = 12.0
ROUNDING = 1e-12
"""Of a mean, relative to it: means that differ by less are equal."""
SMALLEST_SKEWNESS = 1e-3
EXACT_EVENTS = 2000
"""Up to so many failures the stratified test is exact; beyond, the score test serves."""


def convert_p_to_z(p: Any) -> Any:
    return np.clip(-ndtri(p), -GREATEST_Z, GREATEST_Z)


def compute_pearson_tail(value: Any, skewness: Any) -> Any:
    """The probability above `value` of a Pearson type III with mean 0 and variance 1."""
    skewed = np.where(np.abs(skewness) < SMALLEST_SKEWNESS, SMALLEST_SKEWNESS, skewness)
    shape = 4 / skewed**2
    place = np.maximum(shape + 2 * value / skewed, 0)
    tail = np.where(skewed > 0, gammaincc(shape, place), gammainc(shape, place))
    return np.where(np.abs(skewness) < SMALLEST_SKEWNESS, ndtr(-np.asarray(value)), tail)


@dataclass(frozen=True)
class Arms:
    """Counts, means and sums of squared and cubed deviations, by stratum, of the two arms.

    A share is a mean of 0 and 1, and needs no cubes.
    """

    canary: Floats
    control: Floats
    canary_mean: Floats
    control_mean: Floats
    canary_squares: Floats
    control_squares: Floats
    canary_cubes: Floats | None = None
    control_cubes: Floats | None = None

    @property
    def weights(self) -> Floats:
        """Of Mantel and Haenszel: n_t n_c / (n_t + n_c), 0 where an arm is empty; they sum to 1."""
        total = np.maximum(self.canary + self.control, 1)
        weights: Floats = self.canary * self.control / total
        return np.asarray(weights / np.maximum(weights.sum(-1, keepdims=True), 1e-300))

    @property
    def difference(self) -> Floats:
        return np.asarray(np.sum(self.weights * np.nan_to_num(self.canary_mean - self.control_mean), -1))


@dataclass(frozen=True)
class Difference:
    """The stratified difference of means, its standard error, and the degrees of freedom of that."""

    estimate: Floats
    error: Floats
    freedom: Floats

    def compute_z(self, shift: float) -> Any:
        """For a difference above `shift`, by Student's t. NaN where nothing varies."""
        with np.errstate(divide="ignore", invalid="ignore"):
            statistic = np.where(self.error > 0, (self.estimate - shift) / self.error, np.nan)
        tail = stdtr(self.freedom, -np.abs(statistic))  # the lesser one, which is exact
        return np.sign(statistic) * convert_p_to_z(tail)


def compare_means(arms: Arms) -> Difference:
    """The variance of an arm is pooled over its strata, and differs between the arms (Welch, Satterthwaite).

    An arm that does not vary is given the variance of the other: few equal values prove no variance of zero.
    """
    weights = arms.weights
    in_use = weights > 0

    def pool(count: Floats, squares: Floats) -> tuple[Floats, Floats]:
        freedom = np.sum(np.where(in_use, count - 1, 0), -1)
        return np.sum(np.where(in_use, squares, 0), -1) / np.maximum(freedom, 1), freedom

    canary, canary_freedom = pool(arms.canary, arms.canary_squares)
    control, control_freedom = pool(arms.control, arms.control_squares)
    canary, control = np.where(canary > 0, canary, control), np.where(control > 0, control, canary)
    first = canary * np.sum(weights**2 / np.maximum(arms.canary, 1), -1)
    second = control * np.sum(weights**2 / np.maximum(arms.control, 1), -1)
    with np.errstate(divide="ignore", invalid="ignore"):
        spread = first**2 / np.maximum(canary_freedom, 1) + second**2 / np.maximum(control_freedom, 1)
        freedom = np.where(spread > 0, (first + second) ** 2 / spread, 1.0)
    known = (canary_freedom > 0) & (control_freedom > 0)
    return Difference(arms.difference, np.where(known, np.sqrt(first + second), 0.0), np.maximum(freedom, 1.0))


def compute_permutation_z(arms: Arms, shift: float) -> Any:
    """For a difference of means above `shift`: what chance would give if it drew the canaries among the devices of each
    stratum, the canaries' figures less the shift. Whatever the figures' distribution is, a version that changes nothing
    is found worse no more often than stated.

    The distribution over all draws is a Pearson type III with its own first three moments (Mielke, Berry and Johnson
    1976; moments of draws without replacement: Cochran 1977).
    """
    weights, canary, control = arms.weights, arms.canary, arms.control
    in_use, size = weights > 0, np.maximum(canary + control, 3)
    apart = np.nan_to_num(arms.canary_mean - shift - arms.control_mean)
    level = np.nan_to_num(np.maximum(np.abs(arms.canary_mean), np.abs(arms.control_mean)))
    apart = np.where(np.abs(apart) <= ROUNDING * level, 0.0, apart)
    zeros = np.zeros(weights.shape)
    cubes = [zeros if each is None else each for each in (arms.canary_cubes, arms.control_cubes)]
    second = arms.canary_squares + arms.control_squares + apart**2 * canary * control / size
    third = cubes[0] + cubes[1] + apart**3 * canary * control * (control - canary) / size**2
    third = third + 3 * apart * (control * arms.canary_squares - canary * arms.control_squares) / size
    pairs = np.maximum(canary * control, 1)
    variance = np.sum(np.where(in_use, weights**2 * second * size / ((size - 1) * pairs), 0), -1)
    skewed = third * size**2 * (control - canary) / (pairs**2 * (size - 1) * (size - 2))
    moment = np.sum(np.where(in_use, weights**3 * skewed, 0), -1)
    with np.errstate(divide="ignore", invalid="ignore"):
        statistic = np.where(variance > 0, np.sum(weights * apart, -1) / np.sqrt(variance), 0.0)
        skewness = np.where(variance > 0, moment / variance**1.5, 0.0)
    return convert_p_to_z(compute_pearson_tail(statistic, np.nan_to_num(skewness)))


def compute_margin_z(arms: Arms, margin: float, *, has_one_sign: bool) -> Any:
    """For a difference of means below `margin`: the most cautious of three tests. NaN where nothing varies.

    Student's t takes unequal variances, and is too sure of figures skewed to the worse. The permutations take any
    distribution, if the canaries' is that of the others shifted by the margin; or, where all figures have one sign, as
    latencies have, stretched to it. Which of these a bad version would be is not known before.
    """
    z = -np.maximum(compare_means(arms).compute_z(margin), compute_permutation_z(arms, margin))
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        ratio = 1 + margin / arms.control_mean
    if not has_one_sign or not (ratio[arms.weights > 0] > 0).all():
        return z
    cubes = None if arms.canary_cubes is None else arms.canary_cubes / ratio**3
    stretched = replace(
        arms,
        canary_mean=arms.canary_mean / ratio,
        canary_squares=arms.canary_squares / ratio**2,
        canary_cubes=cubes,
    )
    return np.minimum(z, -compute_permutation_z(stretched, 0.0))


def compute_mean_bound(arms: Arms, critical: float, *, upper: bool, has_one_sign: bool = False) -> float | None:
    """The difference at which the test of harm stands at `critical`, or (`upper`) that of non-inferiority."""
    squares = float(np.sum(np.where(arms.weights > 0, arms.canary_squares + arms.control_squares, 0)))
    if not math.isfinite(critical) or squares == 0:
        return None
    estimate, reach = float(arms.difference), 2 * GREATEST_Z * (math.sqrt(squares) + abs(float(arms.difference)))
    if not upper:
        return find_root(lambda d: float(compute_permutation_z(arms, d)) - critical, estimate - reach, estimate)
    if not float(compare_means(arms).error) > 0:
        return None
    return find_root(
        lambda d: critical - float(compute_margin_z(arms, d, has_one_sign=has_one_sign)), estimate, estimate + reach
    )


def compute_exact_z(arms: Arms) -> Any:
    """For more failures among canaries than chance gives, stratum by stratum: Fisher's test, its strata convolved."""
    events = np.rint(arms.canary * np.nan_to_num(arms.canary_mean)).astype(int)
    totals = events + np.rint(arms.control * np.nan_to_num(arms.control_mean)).astype(int)
    canary, both = arms.canary.astype(int), (arms.canary + arms.control).astype(int)
    if arms.canary.shape[-1] == 1:
        return convert_p_to_z(hypergeom.sf(events[..., 0] - 1, both[..., 0], totals[..., 0], canary[..., 0]))
    in_use = arms.weights > 0
    if totals[in_use].sum() > EXACT_EVENTS:
        return compute_score_z(arms, 0.0)
    chances = np.ones(1)
    for count, total, number in zip(both[in_use], totals[in_use], canary[in_use], strict=True):
        chances = np.convolve(chances, hypergeom.pmf(np.arange(total + 1), count, total, number))
    return float(convert_p_to_z(min(1.0, chances[events[in_use].sum() :].sum())))


def compute_score_z(arms: Arms, shift: float) -> Any:
    """For a difference of shares above `shift`: the stratified score test of Miettinen and Nurminen (1985).

    The variance is that under the hypothesis, so that no failure among few devices is no proof.
    """
    variance = compute_score_variance(arms, shift)
    with np.errstate(divide="ignore", invalid="ignore"):
        statistic = np.where(variance > 0, (arms.difference - shift) / np.sqrt(variance), 0.0)
    return np.clip(statistic, -GREATEST_Z, GREATEST_Z)


def compute_score_variance(arms: Arms, shift: float) -> Floats:
    weights = arms.weights
    canary, control = np.maximum(arms.canary, 1), np.maximum(arms.control, 1)
    first, second = constrain_shares(
        np.nan_to_num(arms.canary_mean), np.nan_to_num(arms.control_mean), control / canary, shift
    )
    size = canary + control
    variance = (first * (1 - first) / canary + second * (1 - second) / control) * size / np.maximum(size - 1, 1)
    return np.asarray(np.sum(np.where(weights > 0, weights**2 * variance, 0.0), -1))


def constrain_shares(canary: Floats, control: Floats, ratio: Floats, shift: float) -> tuple[Floats, Floats]:
    """The likeliest shares whose difference is `shift`: a cubic equation (Farrington and Manning 1990, appendix).

    `ratio`: control devices for each canary device.
    """
    a = 1 + ratio
    b = -(1 + ratio + canary + ratio * control + shift * (ratio + 2))
    c = shift**2 + shift * (2 * canary + ratio + 1) + canary + ratio * control
    d = -canary * shift * (1 + shift)
    v = (b / (3 * a)) ** 3 - b * c / (6 * a**2) + d / (2 * a)
    u = np.where(v >= 0, 1.0, -1.0) * np.sqrt(np.maximum((b / (3 * a)) ** 2 - c / (3 * a), 0))
    with np.errstate(divide="ignore", invalid="ignore"):
        cosine = np.where(u == 0, 0.0, np.clip(v / u**3, -1, 1))
    first = 2 * u * np.cos((np.pi + np.arccos(cosine)) / 3) - b / (3 * a)
    first = np.clip(first, max(0.0, shift), min(1.0, 1 + shift))
    return first, np.clip(first - shift, 0.0, 1.0)


def compute_limit_z(events: Any, devices: Any, limit: float, *, above: bool) -> Any:
    """For a share above `limit`, or below: the exact binomial test."""
    p = binom.sf(np.asarray(events) - 1, devices, limit) if above else binom.cdf(events, devices, limit)
    return convert_p_to_z(p)


def compute_share_bound(events: int, devices: int, error: float, *, upper: bool) -> float:
    """The bound of Clopper and Pearson on a share, exceeded with probability `error` at most.

    Where nothing failed the upper one is 1 - error^(1/n): about 3/n at 5 %, the rule of three.
    """
    if upper:
        return 1.0 if events >= devices else float(betainccinv(events + 1, devices - events, error))
    return 0.0 if events == 0 else float(betaincinv(events, devices - events + 1, error))


def compute_score_bound(arms: Arms, critical: float, *, upper: bool) -> float | None:
    """The difference of shares at which the score test stands at `critical`, on the side asked for."""
    if not np.isfinite(critical):
        return None
    target = -critical if upper else critical
    return find_root(lambda shift: float(compute_score_z(arms, shift)) - target, -1.0, 1.0)


def find_root(function: Callable[[float], float], low: float, high: float) -> float:
    """Of a falling function; an end where it has none."""
    edge = 1e-9 * (high - low)
    low, high = low + edge, high - edge
    if function(low) <= 0:
        return low - edge
    if function(high) >= 0:
        return high + edge
    return float(brentq(function, low, high, xtol=1e-9))
