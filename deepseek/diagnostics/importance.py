"""Permutation importance: by how much a model gets worse when one column of the held-out rows is shuffled."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from deepseek.diagnostics.document import MAX_FEATURES, FeatureImportance, Importance
from deepseek.diagnostics.rounding import round_value
from deepseek.models.evaluate import Outputs, Target, compute_headline

Singles = npt.NDArray[np.float32]
Predict = Callable[[Any], Outputs]

REPEATS = 5
MAX_ROWS = 2000
SCREENED_ROWS = 500
MOST_WORK = 2e11
"""Multiplications that this may cost, some ten seconds of one thread: of a larger network fewer rows are taken."""
FEWEST_ROWS = 10


def compute_importance(
    task: str, predict: Predict, features: Singles, target: Target, names: Sequence[str], *, seed: int, parameters: int
) -> Importance | None:
    """The drop of the headline metric for each column of `features` (n, F), the most important first.

    Of more than MAX_FEATURES columns those are taken that matter most in one shuffle of fewer rows. `parameters`: of
    the network, which say what a row costs. None where even FEWEST_ROWS rows would cost too much.
    """
    columns: npt.NDArray[np.int64] = np.arange(features.shape[1])
    affordable = int(MOST_WORK / max(1, parameters))  # rows through the network
    if len(columns) > MAX_FEATURES:
        rows = draw_rows(len(target), min(SCREENED_ROWS, affordable // (2 * len(columns))), seed)
        if len(rows) < min(FEWEST_ROWS, len(target)):
            return None
        drops = _shuffle_columns(task, predict, features[rows], target[rows], columns, 1, seed)[1][:, 0]
        columns = np.sort(np.argsort(-drops, kind="stable")[:MAX_FEATURES])
    rows = draw_rows(len(target), min(MAX_ROWS, affordable // (2 * REPEATS * len(columns))), seed)
    if len(rows) < min(FEWEST_ROWS, len(target)):
        return None
    (metric, value), drops = _shuffle_columns(task, predict, features[rows], target[rows], columns, REPEATS, seed)
    order = np.argsort(-drops.mean(axis=1), kind="stable")
    return Importance(
        metric=metric,
        value=round_value(value),
        rows=len(rows),
        repeats=REPEATS,
        features=[
            FeatureImportance(
                name=names[columns[k]],
                drop=round_value(float(drops[k].mean())),
                low=round_value(float(drops[k].min())),
                high=round_value(float(drops[k].max())),
            )
            for k in order
        ],
        left_out=features.shape[1] - len(columns),
    )


def draw_rows(count: int, most: int, seed: int) -> npt.NDArray[np.int64]:
    """All rows, or `most` of them drawn by the seed, ascending."""
    if count <= most:
        return np.arange(count)
    return np.sort(np.random.default_rng((seed, 5)).choice(count, max(0, most), replace=False))


def _shuffle_columns(
    task: str,
    predict: Predict,
    features: Singles,
    target: Target,
    columns: npt.NDArray[np.int64],
    repeats: int,
    seed: int,
) -> tuple[tuple[str, float], npt.NDArray[np.float64]]:
    """The headline metric and its value, and by how much it gets worse, (columns, repeats).

    Each shuffle has a seed of its own, so that no drop depends on which other columns are measured.
    """
    features = np.array(features)  # a copy: the windows of a series are views of one another
    name, better, value = compute_headline(task, predict(features), target)
    drops = np.empty((len(columns), repeats))
    for place, column in enumerate(columns):
        original = features[:, column].copy()
        for repeat in range(repeats):
            draw = np.random.default_rng((seed, 6, int(column), repeat))
            features[:, column] = draw.permutation(original)
            shuffled = compute_headline(task, predict(features), target)[2]
            drops[place, repeat] = value - shuffled if better == "higher" else shuffled - value
        features[:, column] = original
    return (name, value), drops
