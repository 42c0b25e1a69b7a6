"""What a gate says of a candidate beside a baseline, both measured on the same rows. Pure.

With d the difference candidate minus baseline, turned so that more is better, and [low, high] its interval from the
paired bootstrap at the gate's confidence:

- fail: high < -margin. The candidate is worse by more than the margin, with this confidence.
- pass: low >= -margin. It is shown not to be worse beyond the margin (a test of non-inferiority).
- not significant: the interval holds -margin; the rows cannot tell. It is let through and told.

The margin is widened by a billionth of the larger value: sums in another order must not read as a loss.

Slices are many looks at one model, so one of them looks bad by chance. Each has the probability of its draws if it
were not worse beyond the margin; Holm's procedure (Holm, "A simple sequentially rejective multiple test procedure",
1979) holds the chance of one false alarm among all slices at the level of the gate. The worst slice is always told; it
fails the gate only where the gate guards slices.

n draws can show no probability below 1 / (1 + n). Where that, times the number of slices, is above the level, the draws
cannot tell a loss however large, so the probability is that of the normal distribution with their mean and standard
deviation (the normal approximation to the bootstrap; Efron and Tibshirani, "An Introduction to the Bootstrap", 1993,
chapter 13).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from statistics import fmean
from typing import Any

from apps.ml.registry.gates.replicates import Key, compute_differences, compute_interval
from apps.ml.registry.states import GateState
from deepseek.messages import Message

ROUNDING_TOLERANCE = 1e-9


@dataclass(frozen=True, slots=True, kw_only=True)
class GateCriteria:
    """What a gate asks for."""

    metric: str
    better: str
    margin: float
    confidence: float
    guard_slices: bool


@dataclass(frozen=True, slots=True)
class SliceLoss:
    """A slice beside the baseline's: its difference, and how probable such draws are if it were not worse."""

    column: str
    value: str
    difference: float
    low: float
    high: float
    p: float  # as it is
    corrected: float  # by Holm, for all slices together
    worse: bool


@dataclass(frozen=True, slots=True)
class GateOutcome:
    """The verdict; without a difference where there was none to take."""

    state: GateState
    difference: float | None = None
    low: float | None = None
    high: float | None = None
    slices: int = 0
    worst: SliceLoss | None = None
    why: str = ""

    def as_dict(self) -> dict[str, Any]:
        fields = asdict(self)
        return {**fields, "state": str(self.state)}


def decide_outcome(criteria: GateCriteria, ours: Mapping[Key, Any], theirs: Mapping[Key, Any]) -> GateOutcome:
    """The verdict on two sets of replicates of the same draws."""
    key = (None, criteria.metric)
    draws = compute_differences(ours[key], theirs[key]) if key in ours and key in theirs else []
    if not draws:
        return GateOutcome(
            GateState.NOT_COMPARABLE,
            why=Message("{metric} is not defined for both on these rows.", metric=criteria.metric),
        )
    difference = ours[key]["value"] - theirs[key]["value"]
    low, high = compute_interval(draws, criteria.confidence)
    criteria = replace(
        criteria, margin=criteria.margin + ROUNDING_TOLERANCE * max(abs(ours[key]["value"]), abs(theirs[key]["value"]))
    )
    losses = compute_slice_losses(criteria, ours, theirs)
    worst = min(losses, key=lambda loss: (loss.p, get_sign(criteria) * loss.difference), default=None)
    state = classify_interval(criteria, low, high)
    if criteria.guard_slices and any(loss.worse for loss in losses):
        state = GateState.FAIL
    return GateOutcome(state, difference, low, high, len(losses), worst)


def classify_interval(criteria: GateCriteria, low: float, high: float) -> GateState:
    worst, best = (low, high) if criteria.better == "higher" else (-high, -low)
    if best < -criteria.margin:
        return GateState.FAIL
    return GateState.PASS if worst >= -criteria.margin else GateState.NOT_SIGNIFICANT


def get_sign(criteria: GateCriteria) -> int:
    return 1 if criteria.better == "higher" else -1


def compute_slice_losses(criteria: GateCriteria, ours: Mapping[Key, Any], theirs: Mapping[Key, Any]) -> list[SliceLoss]:
    """Each slice that both have, with Holm's correction over all of them."""
    measured = []
    for key, mine in ours.items():
        part, metric = key
        if part is None or metric != criteria.metric or key not in theirs:
            continue
        if draws := compute_differences(mine, theirs[key]):
            measured.append((part, mine["value"] - theirs[key]["value"], draws))
    level = (1 - criteria.confidence) / 2  # one side of the interval
    raw = [
        (
            part,
            difference,
            *compute_interval(draws, criteria.confidence),
            compute_probability(criteria, draws, len(measured), level),
        )
        for part, difference, draws in measured
    ]
    corrected = correct_by_holm([row[-1] for row in raw])
    return [
        SliceLoss(*part, difference, low, high, p, adjusted, adjusted <= level)
        for (part, difference, low, high, p), adjusted in zip(raw, corrected, strict=True)
    ]


def compute_probability(criteria: GateCriteria, draws: Sequence[float], slices: int, level: float) -> float:
    """Of draws like these if the slice were not worse beyond the margin: counted, or by the normal distribution where
    too few were drawn to reach `level` among so many `slices`."""
    turned = [get_sign(criteria) * draw + criteria.margin for draw in draws]
    if slices / (1 + len(turned)) <= level:
        return (1 + sum(draw >= 0 for draw in turned)) / (1 + len(turned))
    mean = fmean(turned)
    deviation = math.hypot(*(draw - mean for draw in turned)) / math.sqrt(len(turned))
    if deviation == 0:
        return 1.0 if mean >= 0 else 0.0
    return math.erfc(-mean / (deviation * math.sqrt(2))) / 2


def correct_by_holm(p: Sequence[float]) -> list[float]:
    """Probabilities corrected for being many: the k-th smallest times (n - k + 1), never below the one before."""
    order = sorted(range(len(p)), key=lambda place: p[place])
    corrected, highest = [0.0] * len(p), 0.0
    for rank, place in enumerate(order):
        highest = max(highest, min(1.0, (len(p) - rank) * p[place]))
        corrected[place] = highest
    return corrected
