"""The evidence of a verdict as a JSON document: devices, gates, looks, intervals."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.special import ndtr, stdtrit

from deepseek.canary import boundaries, comparisons, e_processes
from deepseek.canary.looks import FAMILIES, SequentialTest
from deepseek.canary.power import compute_standard_error, describe_power
from deepseek.canary.sample import Fleet
from deepseek.canary.spec import CanaryPlan, Gate

LISTED_DEVICES = 100
"""Names that the document lists of each group of devices; it counts them all."""
LISTED_STRATA = 50
ARM_CONFIDENCE = 0.95


def describe_devices(fleet: Fleet) -> dict[str, Any]:
    """How many devices are in which state, by arm, and the first names of those that need a look."""
    groups = {
        "missing": ~fleet.is_reached,
        "failed": fleet.is_failed,
        "silent": fleet.is_silent,
        "soaking": fleet.is_reached & ~fleet.is_resolved,
        "soaked": fleet.is_resolved & ~fleet.is_failed & ~fleet.is_silent,
    }
    arms = {"canary": fleet.is_canary, "control": ~fleet.is_canary}
    counts = {
        arm: {"all": int(side.sum()), **{name: int((side & group).sum()) for name, group in groups.items()}}
        for arm, side in arms.items()
    }
    listed = {
        name: [fleet.devices[place].device for place in np.flatnonzero(fleet.is_canary & groups[name])[:LISTED_DEVICES]]
        for name in ("missing", "failed", "silent")
    }
    return {**counts, "listed": listed, "strata_without_control": fleet.find_uncovered_strata()}


def describe_gate(plan: CanaryPlan, gate: Gate, tests: Sequence[SequentialTest]) -> dict[str, Any]:
    """The figures of a gate in its own direction, its interval, and its tests. `harm` is positive where it is worse.

    `low` and `high` bound the harm, at every look at once: the one by the test of harm, the other by that of
    non-inferiority, each at its own error.
    """
    first = tests[0].sample
    by_kind = {test.kind: test for test in tests}
    lower, upper = by_kind.get("harm", tests[0]), by_kind.get("non_inferiority", tests[0])
    arms = first.arms
    harm = None
    if gate.reference == "limit":
        harm = first.canary_events / first.canary if first.canary else None
    elif arms.weights.any():
        harm = float(arms.difference)
    return {
        "name": gate.name,
        "measure": gate.measure,
        "scale": gate.scale,
        "better": gate.better,
        "reference": gate.reference,
        "limit": gate.limit,
        "margin": gate.margin,
        "tolerance": gate.tolerance,
        "canary": describe_arm(gate, arms.canary, arms.canary_mean, arms.canary_squares),
        "control": describe_arm(gate, arms.control, arms.control_mean, arms.control_squares),
        "harm": harm,
        "standard_error": compute_standard_error(tests[0]),
        "low": compute_bound(lower, upper=False),
        "high": compute_bound(upper, upper=True),
        "strata": [
            {
                "stratum": name,
                "canary": int(arms.canary[place]),
                "control": int(arms.control[place]),
                "canary_value": _orient(gate, _drop_nan(arms.canary_mean[place])),
                "control_value": _orient(gate, _drop_nan(arms.control_mean[place])),
            }
            for place, name in enumerate(first.strata[:LISTED_STRATA])
        ],
        "tests": [describe_test(plan, test) for test in tests],
    }


def describe_arm(gate: Gate, count: Any, mean: Any, squares: Any) -> dict[str, Any]:
    """Devices and figure of one arm, with its interval of ARM_CONFIDENCE at this look alone: of a share by Clopper and
    Pearson, of a mean by Student's t with the variance pooled over strata. Whether the arms differ is not read off two
    intervals: the tests say it."""
    devices, value = int(count.sum()), _average(count, mean)
    is_share = gate.scale == "binary"
    events = round(devices * (value or 0.0)) if is_share else None
    bounds: list[float | None] = [None, None]
    tail = (1 - ARM_CONFIDENCE) / 2
    if events is not None and devices:
        bounds = [comparisons.compute_share_bound(events, devices, tail, upper=upper) for upper in (False, True)]
    elif value is not None:
        freedom = devices - int((count > 0).sum())
        if freedom > 0:
            half = float(-stdtrit(freedom, tail)) * math.sqrt(float(squares.sum()) / freedom / devices)
            bounds = [value - half, value + half]
    low, high = (_orient(gate, bound) for bound in (bounds if gate.better == "lower" else bounds[::-1]))
    return {"devices": devices, "value": _orient(gate, value), "events": events, "low": low, "high": high}


def compute_bound(test: SequentialTest, *, upper: bool) -> float | None:
    """The bound on the harm that holds at every look, or None where there is none yet."""
    sample = test.sample
    if test.gate.reference == "limit":
        if not sample.canary:
            return None
        if test.plan.maximum is None:
            return e_processes.find_share_bound(sample.canary_events, sample.canary, test.alpha, upper=upper)
        tail = float(ndtr(-test.find_critical()))
        return comparisons.compute_share_bound(sample.canary_events, sample.canary, tail, upper=upper)
    if not sample.arms.weights.any():
        return None
    if test.difference is not None:
        return comparisons.compute_mean_bound(
            sample.arms, test.find_critical(), upper=upper, has_one_sign=sample.has_one_sign
        )
    return comparisons.compute_score_bound(sample.arms, test.find_critical(), upper=upper)


def describe_test(plan: CanaryPlan, test: SequentialTest) -> dict[str, Any]:
    place = test.find_crossing(test.alpha)
    limits = test.compute_boundaries(test.alpha)
    spent = 0.0
    looks = []
    for number, (look, limit) in enumerate(zip(test.looks, limits, strict=True), 1):
        if plan.maximum:
            spent = boundaries.spend_error(FAMILIES[test.kind], test.alpha, look.spending)
        looks.append(
            {
                "look": number,
                "at": look.at.isoformat(),
                "fraction": look.fraction if plan.maximum else None,
                "z": look.z,
                "boundary": limit if math.isfinite(limit) else None,
                "p": float(ndtr(-look.z)),
                "spent": spent if plan.maximum else None,
                "log_e": look.log_e,
                "log_e_boundary": None if plan.maximum else -math.log(test.alpha),
            }
        )
    return {
        "test": test.kind,
        "threshold": test.threshold,
        "alpha": test.alpha,
        "shown": test.is_shown,
        "shown_at_look": None if place is None else place + 1,
        "complete": test.is_complete,
        "canary": test.sample.canary,
        "control": test.sample.control,
        "z": None if math.isnan(test.z) else test.z,
        "looks": looks,
        **describe_power(plan, test),
    }


def _average(count: Any, mean: Any) -> float | None:
    total = float(count.sum())
    return float(np.sum(count * np.nan_to_num(mean))) / total if total else None


def _orient(gate: Gate, value: float | None) -> float | None:
    """A figure as devices send it: inside, greater is worse."""
    if value is None or gate.better == "lower":
        return value
    return 1 - value if gate.scale == "binary" else -value


def _drop_nan(value: Any) -> float | None:
    return None if math.isnan(value) else float(value)
