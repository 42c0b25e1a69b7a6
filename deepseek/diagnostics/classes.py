"""What a classification does on held-out rows: curves of each class, confusion, calibration. Shapes: shares (n, C)
float32, target (n,) int64 places in the classes."""

from collections.abc import Sequence

import numpy as np

from deepseek.diagnostics.document import (
    MAX_CLASSES,
    MAX_CURVE_POINTS,
    MAX_CURVES,
    ClassCurves,
    Confusion,
    Curve,
)
from deepseek.diagnostics.rounding import round_all, round_value
from deepseek.evaluate.auc import compute_auc
from deepseek.evaluate.classes import MOST_CLASSES_OF_AREA
from deepseek.evaluate.measures import Floats, Outputs, Target


def build_curves(shares: Outputs, target: Target, labels: Sequence[str]) -> tuple[list[ClassCurves], int]:
    """Curves of the second of two classes, or of each class against the rest, and how many classes have none here.

    Of more than MAX_CURVES classes those with the most rows are taken. A class that no row has, or all have, has none.
    """
    classes = [1] if len(labels) == 2 else list(range(len(labels)))
    counts = np.bincount(target, minlength=len(labels))
    usable = [place for place in classes if 0 < counts[place] < len(target)]
    chosen = sorted(sorted(usable, key=lambda place: -counts[place])[:MAX_CURVES])
    return [_build_class_curves(shares[:, k], target == k, labels[k]) for k in chosen], len(classes) - len(chosen)


def compute_mean_auc(shares: Outputs, target: Target) -> float | None:
    """As the metric `auc` of an evaluation: of two classes that of the second, of more the mean of each against the
    rest. None where a class is absent, or there are too many of them."""
    classes = shares.shape[1]
    if classes > MOST_CLASSES_OF_AREA or len(np.unique(target)) < classes:
        return None
    each = [compute_class_auc(shares[:, k], target == k) for k in ([1] if classes == 2 else range(classes))]
    return round_value(float(np.mean(each)))


def compute_class_auc(scores: Outputs, positive: Target) -> float:
    return float(compute_auc(scores.astype(np.float64), positive, np.zeros(len(scores), np.int64), np.ones((1, 1)))[0])


def _build_class_curves(scores: Outputs, positive: Target, label: str) -> ClassCurves:
    """Both curves by descending score, one point for each score that occurs (Fawcett, "An introduction to ROC
    analysis", 2006); the average precision is the sum of precisions weighted by the gain of recall."""
    order = np.argsort(-scores, kind="stable")
    ends = np.append(np.flatnonzero(np.diff(scores[order])), len(scores) - 1)  # the last row of each score
    hits = np.cumsum(positive[order])[ends].astype(np.float64)
    misses = ends + 1 - hits
    recall, precision = hits / hits[-1], hits / (ends + 1)
    average = float((np.diff(recall, prepend=0.0) * precision).sum())
    return ClassCurves(
        label=label,
        positives=int(hits[-1]),
        auc=round_value(compute_class_auc(scores, positive)),
        average_precision=round_value(min(1.0, average)),
        roc=thin_curve(np.append(0.0, misses / misses[-1]), np.append(0.0, recall)),
        precision_recall=thin_curve(np.append(0.0, recall), np.append(precision[0], precision)),
    )


def thin_curve(x: Floats, y: Floats) -> Curve:
    """At most MAX_CURVE_POINTS points of a curve, at equal distances along it, both ends among them."""
    if len(x) > MAX_CURVE_POINTS:
        along = np.concatenate([[0.0], np.cumsum(np.abs(np.diff(x)) + np.abs(np.diff(y)))])
        places = np.searchsorted(along, np.linspace(0.0, along[-1], MAX_CURVE_POINTS - 2))
        places = np.unique(np.append(np.clip(places, 0, len(x) - 1), [0, len(x) - 1]))
        x, y = x[places], y[places]
    return Curve(x=round_all(x), y=round_all(y))


def build_confusion(guess: Target, target: Target, labels: Sequence[str]) -> Confusion:
    """Rows by class and predicted class; of more than MAX_CLASSES classes, those with the most rows."""
    rows = np.bincount(target, minlength=len(labels))
    chosen = np.sort(np.argsort(-rows, kind="stable")[:MAX_CLASSES])
    place = np.full(len(labels), -1)
    place[chosen] = np.arange(len(chosen))
    actual, predicted = place[target], place[guess]
    inside = (actual >= 0) & (predicted >= 0)
    size = len(chosen)
    cells = np.bincount(actual[inside] * size + predicted[inside], minlength=size * size).reshape(size, size)
    return Confusion(
        labels=[labels[k] for k in chosen], counts=cells.tolist(), left_out=int(len(target) - inside.sum())
    )
