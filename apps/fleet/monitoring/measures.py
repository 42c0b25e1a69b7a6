"""The metric of a window with its interval of 95 %, and the rule on it: those of deepseek.drift, by the names here."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

from apps.fleet.monitoring.models import Monitor
from apps.fleet.monitoring.states import Certainty, Measure, Rule
from apps.ml.observations.queries import Figures
from deepseek.drift.accuracy import DropRule
from deepseek.drift.estimates import ClassTotals, Estimate, estimate_macro_f1

RECORDED_NAMES = {Measure.ACCURACY: "accuracy", Measure.F1: "f1_macro", Measure.ERROR: "mae"}
"""What a registered version calls the metric."""
BELOW_ONE = math.nextafter(1.0, 0.0)  # older planes took a limit of 1, which nothing is beyond


def measure(metric: str, figures: Figures, classes: Iterable[ClassTotals] = ()) -> Estimate | None:
    """The metric of a window; None where nothing in it defines it."""
    if metric == Measure.ACCURACY:
        return figures.accuracy
    if metric == Measure.ERROR:
        return figures.absolute_error
    estimate = estimate_macro_f1(classes) if figures.is_classification and figures.scored else None
    return estimate if estimate and estimate.value is not None else None


def is_lower_better(metric: str) -> bool:
    return metric == Measure.ERROR


def build_rule(monitor: Monitor) -> DropRule:
    """The engine's rule. A reference is a value without an interval, so with the certainty of an interval the alarm is
    that all of the window's lies beyond the line. Counts are compared before: a window with few has another verdict."""
    return DropRule(
        limit=monitor.limit if is_lower_better(monitor.metric) else min(monitor.limit, BELOW_ONE),
        mode="relative" if monitor.rule == Rule.RELATIVE else "absolute",
        better="lower" if is_lower_better(monitor.metric) else "higher",
        min_count=0,
        decide_by="interval" if monitor.certainty == Certainty.INTERVAL else "estimate",
    )


def is_beyond(rule: DropRule, reference: float, estimate: Estimate) -> bool:
    return rule.evaluate(Estimate.make_fixed(reference), estimate).verdict == "alarm"


def find_recorded(metric: str, recorded: Iterable[Mapping[str, object]]) -> float | None:
    """The value of a metric among those that a version was registered with; None without it."""
    name = RECORDED_NAMES[Measure(metric)]
    value = next((each.get("value") for each in recorded if each.get("name") == name), None)
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else None
