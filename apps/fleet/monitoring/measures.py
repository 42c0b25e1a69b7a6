"""The metric of a window with its interval of 95 %, from sums and counts alone, and the line that it must not cross."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from apps.fleet.monitoring.states import Certainty, Measure, Rule
from apps.ml.observations.queries import Estimate, Figures, Z

RECORDED_NAMES = {Measure.ACCURACY: "accuracy", Measure.F1: "f1_macro", Measure.ERROR: "mae"}
"""What a registered version calls the metric."""


@dataclass(slots=True)
class ClassTotals:
    """How often a class was answered, how often it was the label, how often both."""

    predicted: int = 0
    labelled: int = 0
    correct: int = 0


def measure(metric: str, figures: Figures, classes: Iterable[ClassTotals] = ()) -> Estimate | None:
    """The metric of a window; None where nothing in it defines it."""
    if metric == Measure.ACCURACY:
        return figures.accuracy
    if metric == Measure.ERROR:
        return figures.absolute_error
    return compute_macro_f1(classes) if figures.is_classification and figures.scored else None


def compute_macro_f1(classes: Iterable[ClassTotals]) -> Estimate | None:
    """The mean of F1 over the classes that were answered or the label.

    F1 of a class is 2J / (1 + J), where J, the share of right answers among all that name the class, is a proportion;
    so the interval follows from the binomial variance of J by the delta method, classes taken as independent. Answers
    are counted with and without a label: those of each class are scaled to the share that is labelled.
    """
    rows = [each for each in classes if each.predicted or each.labelled]
    predicted, labelled = sum(each.predicted for each in rows), sum(each.labelled for each in rows)
    if not labelled:
        return None
    share = min(1.0, labelled / predicted) if predicted else 1.0
    total = variance = 0.0
    for each in rows:
        union = max(each.correct, share * each.predicted) + each.labelled - each.correct
        if not union:
            continue
        jaccard = min(1.0, each.correct / union)
        total += 2 * jaccard / (1 + jaccard)
        variance += (2 / (1 + jaccard) ** 2) ** 2 * jaccard * (1 - jaccard) / union
    value, margin = total / len(rows), Z * math.sqrt(variance) / len(rows)
    return Estimate(value, max(0.0, value - margin), min(1.0, value + margin))


def is_lower_better(metric: str) -> bool:
    return metric == Measure.ERROR


def compute_line(metric: str, rule: str, limit: float, reference: float) -> float:
    """Where the metric is worse by the limit: relative 0.05 of 0.90 is 0.855, absolute 0.05 of 0.90 is 0.85."""
    distance = abs(reference) * limit if rule == Rule.RELATIVE else limit
    return reference + distance if is_lower_better(metric) else reference - distance


def is_beyond(metric: str, certainty: str, estimate: Estimate, line: float) -> bool:
    """Whether the value, or its whole interval, is worse than the line."""
    if is_lower_better(metric):
        return (estimate.low if certainty == Certainty.INTERVAL else estimate.value) > line
    return (estimate.high if certainty == Certainty.INTERVAL else estimate.value) < line


def find_recorded(metric: str, recorded: Iterable[Mapping[str, object]]) -> float | None:
    """The value of a metric among those that a version was registered with; None without it."""
    name = RECORDED_NAMES[Measure(metric)]
    value = next((each.get("value") for each in recorded if each.get("name") == name), None)
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else None
