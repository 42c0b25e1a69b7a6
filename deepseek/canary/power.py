"""What a sample of canaries can show at all: detectable differences, and rare failures."""

from __future__ import annotations

import math
from typing import Any

from scipy.special import ndtr, ndtri

from deepseek.canary import comparisons
from deepseek.canary.looks import SequentialTest
from deepseek.canary.sample import Fleet
from deepseek.canary.spec import CanaryPlan

GREATEST_NEED = 1e9
"""Devices: where more would be needed, no number is given."""


def describe_power(plan: CanaryPlan, test: SequentialTest) -> dict[str, Any]:
    """What the sample can show, now and at the planned maximum, by the variance so far and the power of the plan."""
    sample, error = test.sample, compute_standard_error(test)
    critical, last, wanted = test.find_critical(), test.find_last_boundary(), float(ndtri(plan.power))
    if error is None or not sample.canary or not math.isfinite(last):
        return {"detectable": None, "detectable_at_maximum": None, "power_at_maximum": None, "canary_needed": None}
    detectable = (critical + wanted) * error if math.isfinite(critical) else None
    room = test.gate.margin if test.gate.reference == "control" else test.threshold
    needed = sample.canary * ((last + wanted) * error / room) ** 2 if room else math.inf
    at_maximum = power = None
    fraction = sample.compute_fraction(test.gate, plan.maximum) if plan.maximum else 0.0
    if fraction > 0:
        least = error * math.sqrt(fraction)
        at_maximum = (last + wanted) * least
        power = float(ndtr(room / least - last)) if room else None
    return {
        "detectable": detectable,
        "detectable_at_maximum": at_maximum,
        "power_at_maximum": power,
        "canary_needed": math.ceil(needed) if needed < GREATEST_NEED else None,
    }


def compute_standard_error(test: SequentialTest) -> float | None:
    """Of the difference, or of the share; under the hypothesis where it is one of shares."""
    if test.difference is not None:
        error = float(test.difference.error)
    elif test.gate.reference == "limit":
        error = math.sqrt(test.threshold * (1 - test.threshold) / max(1, test.sample.canary))
    elif test.sample.arms.weights.any():
        error = math.sqrt(float(comparisons.compute_score_variance(test.sample.arms, test.threshold)))
    else:
        error = 0.0
    return error or None


def describe_power_of_failures(plan: CanaryPlan, fleet: Fleet) -> dict[str, Any]:
    """What so many canaries can say of rare failures, at the confidence of the promotions and the plan's power."""
    in_use = fleet.is_canary & fleet.is_resolved
    count, failures = int(in_use.sum()), int((in_use & (fleet.is_failed | fleet.is_silent)).sum())
    error = plan.non_inferiority_alpha
    return {
        "devices": count,
        "failures": failures,
        "confidence": 1 - error,
        "failure_rate_high": comparisons.compute_share_bound(failures, count, error, upper=True),
        "power": plan.power,
        "rate_seen_once": 1 - (1 - plan.power) ** (1 / count) if count else None,
    }
