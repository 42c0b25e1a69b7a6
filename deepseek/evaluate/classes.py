"""Metrics of classes: what was hit, and how good the shares are that the model gives to the classes."""

from collections.abc import Callable

import numpy as np

from deepseek.evaluate.auc import compute_auc
from deepseek.evaluate.document import CalibrationBin
from deepseek.evaluate.measures import (
    Blocks,
    Draws,
    Floats,
    Measure,
    Outputs,
    Target,
    build_sum_measures,
    divide_or_nan,
    sum_by_block,
)
from deepseek.models.evaluate import SMALLEST_SHARE, Better

MOST_CLASSES_OF_AREA = 50
"""The area under the curve takes a pass over the rows for each class; of more classes it is left out."""


def build_class_measures(
    outputs: Outputs | None,
    target: Target,
    blocks: Blocks,
    count: int,
    *,
    positive: int | None,
    bins: int,
    guess: Target | None = None,
    classes: int = 0,
) -> list[Measure]:
    """Metrics of class shares (n, C), and of the classes that are told (n,), against the places of the right ones (n,).

    Without a `guess` the class with the largest share is told. Without shares (then `classes` says how many there are)
    there are the metrics of hits alone: accuracy, precision, recall and f1.

    accuracy; f1_macro, precision_macro and recall_macro, means over the classes that occur as target or as
    prediction, 0 for a class that lacks one of them; log_loss; brier, the mean squared distance to the right answer
    (Brier 1950), halved for two classes as is custom; ece, the expected calibration error over `bins` bins of equal
    width of the largest share (Guo et al., "On Calibration of Modern Neural Networks", 2017); auc, of more than two
    classes the mean of each against the rest. Of two classes also precision, recall and f1 of the class `positive`.
    """
    predicted: Target
    if guess is not None:
        predicted = guess
    elif outputs is not None:
        predicted = outputs.argmax(axis=1)
    else:
        raise ValueError("neither classes nor shares")
    classes = classes if outputs is None else outputs.shape[1]
    hits = sum_by_block([np.ones(len(target)), (predicted == target).astype(np.float64)], blocks, count)
    measures = build_sum_measures(hits, [("accuracy", "higher", lambda s: divide_or_nan(s[:, 1], s[:, 0]))])
    measures += _build_per_class_measures(predicted, target, blocks, count, classes, positive)
    if outputs is not None:
        measures += _build_share_measures(outputs.astype(np.float64), target, blocks, count, positive, bins)
    return sorted(measures, key=lambda measure: _ORDER.index(measure.name))


_ORDER = (
    "accuracy",
    "f1_macro",
    "precision_macro",
    "recall_macro",
    "precision",
    "recall",
    "f1",
    "auc",
    "log_loss",
    "brier",
    "ece",
)


def assign_bins(largest: Floats, bins: int) -> Blocks:
    """The bin of a share: the k-th of `bins` holds (k / bins, (k + 1) / bins], the first one 0 too."""
    return np.clip(np.ceil(largest * bins).astype(np.int64) - 1, 0, bins - 1)


def compute_calibration_bins(shares: Outputs, target: Target, bins: int) -> list[CalibrationBin]:
    """How sure the model was and how often it was right, for each bin that holds a row."""
    largest = shares.max(axis=1).astype(np.float64)
    hit, place = shares.argmax(axis=1) == target, assign_bins(largest, bins)
    return [
        CalibrationBin(
            low=k / bins,
            high=(k + 1) / bins,
            rows=int((place == k).sum()),
            confidence=float(largest[place == k].mean()),
            accuracy=float(hit[place == k].mean()),
        )
        for k in range(bins)
        if (place == k).any()
    ]


def _build_share_measures(
    shares: Floats, target: Target, blocks: Blocks, count: int, positive: int | None, bins: int
) -> list[Measure]:
    right = np.take_along_axis(shares, target[:, None], axis=1)[:, 0]
    classes = shares.shape[1]
    distance = (shares**2).sum(axis=1) - 2 * right + 1
    loss = -np.log(np.clip(right, SMALLEST_SHARE, 1.0))
    sums = sum_by_block([np.ones(len(target)), loss, distance / (2 if classes == 2 else 1)], blocks, count)
    measures = build_sum_measures(
        sums,
        [
            ("log_loss", "lower", lambda s: divide_or_nan(s[:, 1], s[:, 0])),
            ("brier", "lower", lambda s: divide_or_nan(s[:, 2], s[:, 0])),
        ],
    )
    measures.append(_measure_calibration(shares, shares.argmax(axis=1) == target, blocks, count, bins))
    if classes <= MOST_CLASSES_OF_AREA:
        measures.append(_measure_auc(shares, target, blocks, positive))
    return measures


def _build_per_class_measures(
    guess: Target, target: Target, blocks: Blocks, count: int, classes: int, positive: int | None
) -> list[Measure]:
    def count_per_class(of: Target, among: Blocks) -> Floats:
        cells = np.bincount(among * classes + of, minlength=count * classes)
        return cells.reshape(count, classes).astype(np.float64)

    equal = guess == target
    sums = np.column_stack(
        [count_per_class(target[equal], blocks[equal]), count_per_class(guess, blocks), count_per_class(target, blocks)]
    )

    def split_sums(s: Floats) -> tuple[Floats, Floats, Floats]:
        return s[:, :classes], s[:, classes : 2 * classes], s[:, 2 * classes :]

    def divide_or_zero(above: Floats, below: Floats) -> Floats:
        return np.divide(above, below, out=np.zeros_like(above), where=below > 0)

    def compute_mean(values: Floats, s: Floats) -> Floats:
        _, guessed, actual = split_sums(s)
        occurs = guessed + actual > 0
        return divide_or_nan((values * occurs).sum(axis=1), occurs.sum(axis=1).astype(np.float64))

    def compute_precision(s: Floats) -> Floats:
        hits, guessed, _ = split_sums(s)
        return divide_or_zero(hits, guessed)

    def compute_recall(s: Floats) -> Floats:
        hits, _, actual = split_sums(s)
        return divide_or_zero(hits, actual)

    def compute_f1(s: Floats) -> Floats:
        hits, guessed, actual = split_sums(s)
        return divide_or_zero(2 * hits, guessed + actual)

    definitions: list[tuple[str, Better, Callable[[Floats], Floats]]] = []
    for name, function in (("f1", compute_f1), ("precision", compute_precision), ("recall", compute_recall)):
        definitions.append((f"{name}_macro", "higher", _build_class_mean(compute_mean, function)))
        if positive is not None:
            definitions.append((name, "higher", _build_class_metric(function, positive)))
    return build_sum_measures(sums, definitions)


def _build_class_mean(
    mean: Callable[[Floats, Floats], Floats], function: Callable[[Floats], Floats]
) -> Callable[[Floats], Floats]:
    return lambda s: mean(function(s), s)


def _build_class_metric(function: Callable[[Floats], Floats], place: int) -> Callable[[Floats], Floats]:
    return lambda s: function(s)[:, place]


def _measure_calibration(shares: Floats, hit: Target, blocks: Blocks, count: int, bins: int) -> Measure:
    largest = shares.max(axis=1)
    cells = blocks * bins + assign_bins(largest, bins)
    gaps, rows = (
        np.bincount(cells, weights=weights, minlength=count * bins).reshape(count, bins)
        for weights in (largest - hit, np.ones(len(hit)))
    )

    def compute_error(draws: Draws) -> Floats:
        return divide_or_nan(np.abs(draws @ gaps).sum(axis=1), (draws @ rows).sum(axis=1))

    return Measure("ece", "lower", compute_error)


def _measure_auc(shares: Floats, target: Target, blocks: Blocks, positive: int | None) -> Measure:
    def compute_area(draws: Draws) -> Floats:
        if positive is not None:
            return compute_auc(shares[:, positive], target == positive, blocks, draws)
        each = [compute_auc(shares[:, k], target == k, blocks, draws) for k in range(shares.shape[1])]
        return np.asarray(np.mean(each, axis=0))  # not defined where a class is absent from the rows drawn

    return Measure("auc", "higher", compute_area)
