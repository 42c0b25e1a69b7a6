"""A reference beside every model of a table: scikit-learn's HistGradientBoosting, fitted to the same training rows.

It says what a strong model with default settings, which nobody tuned, reaches on the same held-out rows. Gradient
boosting of trees is hard to beat on tables (Grinsztajn et al., "Why do tree-based models still outperform deep learning
on typical tabular data?", 2022).
"""

import importlib.util
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from deepseek.models.evaluate import Outputs
from deepseek.train.columns import Doubles
from deepseek.train.examples import Examples
from deepseek.train.spec import TrainSpec
from deepseek.train.split import Rows

NAME = "HistGradientBoosting"
ITERATIONS = 100  # scikit-learn's default
FEWEST_ITERATIONS = 10
"""Under so many the trees say nothing, and there is no reference."""
MOST_ROWS, MOST_CELLS, FEWEST_ROWS = 50_000, 2_500_000, 1000
BUDGET = 10_000.0
"""Milliseconds of one processor core that the fit may take, as the cost of a tree was measured on an AMD EPYC."""
MOST_BINNED = 255
"""A column of more categories than scikit-learn has bins is given to it as a number: the code."""


@dataclass(frozen=True)
class ReferencePlan:
    """On how many of the training rows it is fitted, and in how many iterations; none where it would take too long."""

    rows: int
    iterations: int


@dataclass(frozen=True)
class ReferenceOutputs:
    """What the fitted reference gives for the held-out rows."""

    rows: int  # that it was fitted to
    version: str  # of scikit-learn
    outputs: Outputs


def is_available() -> bool:
    """Whether scikit-learn is installed."""
    return importlib.util.find_spec("sklearn") is not None


def plan_reference(rows: int, inputs: int, classes: int) -> ReferencePlan | None:
    """How much of the work is done, by the size of the table alone; None where even ten iterations take too long."""
    fitted = min(rows, MOST_ROWS, max(FEWEST_ROWS, MOST_CELLS // inputs))
    trees = classes if classes > 2 else 1  # of an iteration
    milliseconds = trees * (2 + 0.1 * inputs + 4e-5 * fitted * inputs)
    iterations = min(ITERATIONS, int(BUDGET / milliseconds))
    return ReferencePlan(fitted, iterations) if iterations >= FEWEST_ITERATIONS else None


def fit_reference(
    spec: TrainSpec, examples: Examples, class_weights: Doubles | None, plan: ReferencePlan
) -> ReferenceOutputs:
    """Fit it to the training rows and predict the held-out ones. Equal inputs and seed give equal outputs.

    Of a forecast it learns the change from the last value, as the network does; class weights are those of the network.
    """
    import sklearn
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
    from threadpoolctl import threadpool_limits

    rows, test_rows = _select_rows(spec, examples, plan.rows), examples.parts.test
    words: dict[str, Any] = {
        "max_iter": plan.iterations,
        "early_stopping": False,
        "categorical_features": _select_categorical(examples),
        "random_state": spec.seed,
    }
    features, unseen = _read_features(examples, rows), _read_features(examples, test_rows)
    target = examples.target[rows]
    with threadpool_limits(spec.threads):
        if examples.classes:
            weights = None if class_weights is None else class_weights[target]
            model = HistGradientBoostingClassifier(**words).fit(features, target, sample_weight=weights)
            outputs = np.zeros((len(test_rows), len(examples.classes)), np.float32)
            outputs[:, model.classes_] = model.predict_proba(unseen)
        elif examples.lags:
            model = HistGradientBoostingRegressor(**words).fit(features, target - features[:, -1])
            outputs = (unseen[:, -1] + model.predict(unseen)).astype(np.float32)[:, None]
        else:
            outputs = HistGradientBoostingRegressor(**words).fit(features, target).predict(unseen)
            outputs = outputs.astype(np.float32)[:, None]
    return ReferenceOutputs(len(rows), sklearn.__version__, outputs)


def _select_rows(spec: TrainSpec, examples: Examples, count: int) -> Rows:
    """The training rows, or `count` of them drawn by chance, with one of each class at least."""
    rows = examples.parts.training
    if count >= len(rows):
        return rows
    shuffled = np.random.default_rng((spec.seed, 4)).permutation(rows)
    first = np.unique(examples.target[shuffled], return_index=True)[1] if examples.classes else np.empty(0, np.int64)
    return np.sort(np.union1d(shuffled[:count], shuffled[first]))


def _select_categorical(examples: Examples) -> list[int] | None:
    places = [
        place
        for place, words in enumerate(examples.categories.values(), start=examples.numbers)
        if 0 < len(words) <= MOST_BINNED
    ]
    return places or None


def _read_features(examples: Examples, rows: Rows) -> npt.NDArray[np.float32]:
    """The inputs (n, F) of the rows; of no category NaN, which scikit-learn takes for missing."""
    features = np.array(examples.features[rows])
    for place, words in enumerate(examples.categories.values(), start=examples.numbers):
        column = features[:, place]
        column[column == len(words)] = np.nan
    return features
