"""E-processes: evidence that may be looked at any number of times, without a planned end.

An e-process has a mean of at most 1 at every stopping time under the hypothesis, so it ever reaches 1/alpha with
probability alpha at most (Ville). Each here mixes likelihood ratios over what lies on the side of interest, which
makes it one-sided. Howard, Ramdas, McAuliffe and Sekhon (2021), Annals of Statistics 49; Robbins (1970).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
from scipy.optimize import brentq
from scipy.special import betaln, log_ndtr, logsumexp
from scipy.stats import beta

Floats: TypeAlias = "np.ndarray[Any, np.dtype[np.float64]]"

FARTHEST_Z = 1e6
RATE_RATIOS: Floats = np.exp(np.linspace(math.log(1.2), math.log(50), 40))
"""How many times more often a canary fails than a control: the alternatives that the process of counts mixes."""


def compute_log_normal_mixture(z: Any, scale: Any) -> Any:
    """Of a mean with statistic `z`: the mixture over half a normal distribution, whose squared width is `scale` times
    the variance of the estimate. Asymptotic, like its z (Waudby-Smith, Arbour, Sinha, Kennedy and Ramdas 2024)."""
    share = scale / (1 + scale)
    return math.log(2) - 0.5 * np.log1p(scale) + 0.5 * share * np.square(z) + log_ndtr(z * np.sqrt(share))


def find_critical_z(scale: float, alpha: float) -> float:
    """The statistic at which the mixture reaches 1/alpha: the boundary, and the half-width of the sequence of
    confidence intervals in standard errors. Infinite where the estimate is so rough that none would."""
    target = -math.log(alpha)
    if compute_log_normal_mixture(FARTHEST_Z, scale) < target:
        return math.inf
    return float(brentq(lambda z: float(compute_log_normal_mixture(z, scale)) - target, 0.0, FARTHEST_Z, xtol=1e-9))


def add_counts(
    log_likelihoods: Sequence[float] | None,
    strata: Mapping[str, Sequence[float]],
    before: Mapping[str, Sequence[float]],
) -> tuple[Floats, dict[str, list[float]]]:
    """The logarithm of the likelihood ratio at each of RATE_RATIOS after this look, and the cells counted so far.

    A cell is (canary failures, control failures, canary devices, control devices), each from the start. Given that a
    device fails between two looks, it is a canary with the probability of its share in those that had not failed: two
    whole numbers for each stratum suffice, whatever the rates do over time (Lindon and Malek, NeurIPS 2022). They fail
    without replacement, which varies less than the binomial likelihood says (Hoeffding 1963): the mean stays at most 1.
    A stratum that lacks an arm, or lost a failure, stays as it was counted before.
    """
    ratios = np.zeros(len(RATE_RATIOS)) if log_likelihoods is None else np.array(log_likelihoods)
    counted = {name: list(cell) for name, cell in before.items()}
    for name, (canary, control, first, second) in strata.items():
        canary_before, control_before = before.get(name, (0, 0))[:2]
        at_risk, compared = first - canary_before, second - control_before
        failed, rest = canary - canary_before, control - control_before
        if failed < 0 or rest < 0 or at_risk <= 0 or compared <= 0:
            continue
        share = at_risk / (at_risk + compared)
        normalizer = 1 - share + share * RATE_RATIOS
        ratios += failed * np.log(RATE_RATIOS / normalizer) - rest * np.log(normalizer)
        counted[name] = [canary, control]
    return ratios, counted


def mix_counts(log_likelihoods: Floats) -> float:
    return float(logsumexp(log_likelihoods) - math.log(len(RATE_RATIOS)))


def compute_log_limit_mixture(events: float, devices: int, limit: float, *, above: bool) -> float:
    """Of a share against a limit: the mixture over all shares above it, or below it, alike."""
    first, second = events + 1, devices - events + 1
    tail = beta.logsf(limit, first, second) if above else beta.logcdf(limit, first, second)
    room = math.log1p(-limit) if above else math.log(limit)
    return float(
        betaln(first, second) + tail - room - events * math.log(limit) - (devices - events) * math.log1p(-limit)
    )


def find_share_bound(events: float, devices: int, alpha: float, *, upper: bool) -> float:
    """The bound of the sequence of confidence intervals on a share."""
    target = -math.log(alpha)

    def exceed(limit: float) -> float:
        return compute_log_limit_mixture(events, devices, limit, above=not upper) - target

    edge, rate = 1e-9, min(max(events / devices, 1e-6), 1 - 1e-6) if devices else 0.5
    if upper:
        return 1.0 if exceed(1 - edge) < 0 else float(brentq(exceed, rate, 1 - edge))
    return 0.0 if exceed(edge) < 0 else float(brentq(exceed, edge, rate))
