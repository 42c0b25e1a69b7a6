"""How well a model ranks the held-out rows of a site: the area under the ROC curve, with an interval."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from deepseek.federated.features import Examples, Floats
from deepseek.federated.network import Weights, build_network, predict, set_weights
from deepseek.federated.spec import StudySpec

CONFIDENCE_Z = 1.959964
Scores = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Auc:
    """`value` with the 95 % interval `low` to `high`; None where a class has no rows, the interval where it has one."""

    value: float | None
    low: float | None
    high: float | None
    positives: int
    negatives: int

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def compute_auc(scores: Scores, labels: Floats) -> Auc:
    """The area, and its interval by DeLong, DeLong and Clarke-Pearson (Biometrics 44, 1988) on the scale of the logit.

    With few rows of a class the interval is wide, and still too narrow: it is a limit for large samples.
    """
    positive, negative = scores[labels > 0.5], scores[labels <= 0.5]
    if not len(positive) or not len(negative):
        return Auc(None, None, None, len(positive), len(negative))
    wins = (positive[:, None] > negative[None, :]) + 0.5 * (positive[:, None] == negative[None, :])
    value = float(wins.mean())
    if len(positive) < 2 or len(negative) < 2:
        return Auc(value, None, None, len(positive), len(negative))
    by_positive, by_negative = wins.mean(axis=1), wins.mean(axis=0)
    variance = float(by_positive.var(ddof=1) / len(positive) + by_negative.var(ddof=1) / len(negative))
    low, high = compute_logit_interval(value, variance)
    return Auc(value, low, high, len(positive), len(negative))


def compute_logit_interval(value: float, variance: float) -> tuple[float, float]:
    """Bounds within 0 to 1. At the very edge, where the logit has no value, the interval is the point."""
    if not 0 < value < 1:
        return value, value
    logit = math.log(value / (1 - value))
    half = CONFIDENCE_Z * math.sqrt(variance) / (value * (1 - value))
    return to_share(logit - half), to_share(logit + half)


def to_share(logit: float) -> float:
    return 1 / (1 + math.exp(-max(-700.0, min(700.0, logit))))


def measure_weights(study: StudySpec, weights: Weights, examples: Examples) -> Auc:
    """The AUC of a model with these weights on the rows."""
    network = build_network(study)
    set_weights(network, weights)
    return compute_auc(predict(network, examples.inputs), examples.labels)


def compute_mean(values: Sequence[float | None]) -> float | None:
    """The mean of those that have a value."""
    present = [value for value in values if value is not None]
    return sum(present) / len(present) if present else None
