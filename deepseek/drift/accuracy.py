"""The rule on a model's figures: "accuracy down by more than 5 %", relative or absolute, with its interval.

The rule asks for the sign of a contrast: current - (1 - limit) reference if relative, current - reference + limit if
absolute; for errors, which are better when low, the other way round. Its interval is made of those of the two estimates
by MOVER (Zou and Donner 2008; for shares it is Newcombe's of 1998): alarm where all of it lies beyond, ok where none
does, else inconclusive.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

from deepseek.drift.estimates import Estimate
from deepseek.job import EngineError
from deepseek.messages import N_, Message, record_messages

Mode = Literal["relative", "absolute"]
RuleVerdict = Literal["ok", "alarm", "inconclusive"]


@dataclass(frozen=True)
class RuleResult:
    """`change`: how much worse, as a share of the reference (relative) or in its unit (absolute); with its interval
    where both estimates have one. `threshold`: the value beyond which the rule alarms."""

    verdict: RuleVerdict
    reason: Literal["beyond", "within", "not_sure", "too_few", "no_reference", "zero_reference"]
    message: Message
    current: Estimate
    reference: Estimate
    threshold: float | None = None
    change: float | None = None
    change_low: float | None = None
    change_high: float | None = None

    def to_dict(self) -> dict[str, Any]:
        names = ("verdict", "reason", "message", "threshold", "change", "change_low", "change_high")
        estimates = {"current": self.current.to_dict(), "reference": self.reference.to_dict()}
        return record_messages({name: getattr(self, name) for name in names} | estimates)


@dataclass(frozen=True)
class DropRule:
    """Alarm when a figure is worse than the reference by more than `limit`: a share of it (relative, 0.05 is 5 %), or
    in its own unit (absolute, 0.05 is 5 percentage points of accuracy). `better`: higher for accuracy and F1, lower for
    errors. `decide_by`: the whole interval, or the estimate alone. `min_count`: rows of the window below which nothing
    is decided."""

    limit: float = 0.05
    mode: Mode = "relative"
    better: Literal["higher", "lower"] = "higher"
    min_count: int = 100
    decide_by: Literal["interval", "estimate"] = "interval"

    def __post_init__(self) -> None:
        most = 1.0 if self.better == "higher" else math.inf
        if not (0 < self.limit < most):
            raise EngineError(
                "bad_drop_limit",
                N_("A limit of {given} is not possible here."),
                given=str(self.limit),
                field="/limit",
                value=str(self.limit),
                hint=N_("Give a number above 0, and below 1 for accuracy and F1: 0.05 is 5 %."),
            )

    def compute_threshold(self, reference: float) -> float:
        sign = -1 if self.better == "higher" else 1
        return reference * (1 + sign * self.limit) if self.mode == "relative" else reference + sign * self.limit

    def evaluate(self, reference: Estimate, current: Estimate) -> RuleResult:
        """Never raises for what was observed: what cannot be decided is inconclusive, with its reason."""
        if reference.value is None or not math.isfinite(reference.value):
            return self._stop("no_reference", N_("There is no reference to compare with."), reference, current)
        if current.value is None or current.count < self.min_count or not math.isfinite(current.value):
            message = Message(
                N_("The window has {count} labelled rows, of at least {need}."),
                count=current.count,
                need=max(1, self.min_count),
            )
            return self._stop("too_few", message, reference, current)
        if self.mode == "relative" and reference.value <= 0:
            text = N_("The reference is 0, and has no relative change: use the absolute mode.")
            return self._stop("zero_reference", text, reference, current)
        return self._decide(reference.value, current.value, reference, current)

    def _stop(self, reason: Any, message: str, reference: Estimate, current: Estimate) -> RuleResult:
        return RuleResult("inconclusive", reason, Message(message), current, reference)

    def _decide(self, before: float, now: float, reference: Estimate, current: Estimate) -> RuleResult:
        threshold = self.compute_threshold(before)
        worse = before - now if self.better == "higher" else now - before
        change = worse / before if self.mode == "relative" else worse
        low, high = self._compute_change_interval(before, now, reference, current)
        if self.decide_by == "estimate":
            is_beyond = now < threshold if self.better == "higher" else now > threshold  # at the line itself it is not
            is_within = not is_beyond
        else:
            is_beyond = low is not None and low > self.limit
            is_within = high is not None and high <= self.limit
        msgid = N_("{value}: {change} worse than the reference {reference}; the limit is {limit}, {mode}.")
        if not is_beyond and not is_within:
            msgid = N_(
                "{value}: {change} worse than the reference {reference}, not surely beyond the limit {limit}, {mode}."
            )
        message = Message(
            msgid,
            value=f"{now:.4g}",
            change=f"{100 * change:.3g} %" if self.mode == "relative" else f"{change:.3g}",
            reference=f"{before:.4g}",
            limit=f"{100 * self.limit:.3g} %" if self.mode == "relative" else f"{self.limit:.3g}",
            mode=Message(N_("relative") if self.mode == "relative" else N_("absolute")),
        )
        return RuleResult(
            "alarm" if is_beyond else "ok" if is_within else "inconclusive",
            "beyond" if is_beyond else "within" if is_within else "not_sure",
            message,
            current,
            reference,
            threshold,
            change,
            low,
            high,
        )

    def _compute_change_interval(
        self, before: float, now: float, reference: Estimate, current: Estimate
    ) -> tuple[float | None, float | None]:
        if reference.low is None or reference.high is None or current.low is None or current.high is None:
            return None, None
        low, high = reference.low, reference.high
        if self.better == "higher":
            bounds = (before, low, high), (now, current.low, current.high)
        else:
            bounds = (now, current.low, current.high), (before, low, high)
        if self.mode == "absolute":
            return compute_difference_interval(*bounds)
        if self.better == "higher":  # 1 - now/before
            ratio_low, ratio_high = compute_ratio_interval((now, current.low, current.high), (before, low, high))
            return 1 - ratio_high, 1 - ratio_low
        ratio_low, ratio_high = compute_ratio_interval((now, current.low, current.high), (before, low, high))
        return ratio_low - 1, ratio_high - 1


Bounds = tuple[float, float, float]


def compute_difference_interval(first: Bounds, second: Bounds) -> tuple[float, float]:
    """Of first - second, each (value, low, high): Newcombe (1998), method 10; Zou and Donner (2008)."""
    difference = first[0] - second[0]
    return (
        difference - math.hypot(first[0] - first[1], second[2] - second[0]),
        difference + math.hypot(first[2] - first[0], second[0] - second[1]),
    )


def compute_ratio_interval(first: Bounds, second: Bounds) -> tuple[float, float]:
    """Of first / second: the ratios r at which the interval of first - r second has 0 for its end (MOVER-R)."""

    def solve(value: float, reach: float, other: float, other_reach: float, sign: int) -> float:
        # (value - r other)^2 = reach^2 + r^2 other_reach^2
        a, b, c = divisor**2 - other_reach**2, -2 * value * divisor, value**2 - reach**2
        if a <= 0:  # the interval of the denominator reaches 0: the ratio has no bound
            return math.inf if sign > 0 else 0.0
        return (-b + sign * math.sqrt(max(0.0, b**2 - 4 * a * c))) / (2 * a)

    value, low, high = first
    divisor, other_low, other_high = second
    lower = solve(value, value - low, divisor, other_high - divisor, -1)
    upper = solve(value, high - value, divisor, divisor - other_low, 1)
    return max(0.0, lower), upper
