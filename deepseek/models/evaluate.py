"""How good a model's outputs are on held-out rows: metrics with intervals, and paired differences between two models.

Every metric here is a function of sums over rows, so one bootstrap serves all: rows are put into blocks, the sums of
each block are made once, and a replicate draws blocks with replacement (percentile intervals, as Efron and Tibshirani,
"An Introduction to the Bootstrap", 1993, chapter 13). Rows of a forecast depend on their neighbours, so their blocks
hold consecutive rows, about n ** (1/3) of them (Kuensch, "The Jackknife and the Bootstrap for General Stationary
Observations", 1989), and more where the horizon is far: errors of two forecasts less than a horizon apart share what
happened in between. Other rows stand alone. Accuracy gets Wilson's interval (1927), which holds at 0 and at 1 too.
"""

import math
from collections.abc import Callable
from statistics import NormalDist
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from deepseek.job import EngineError
from deepseek.messages import N_
from deepseek.models.figures import Metric

Floats = npt.NDArray[np.float64]
Outputs = npt.NDArray[np.float32]  # (n, 1) values, or (n, C) class shares
Target = npt.NDArray[Any]  # (n,) float32 values, or int64 places in the classes
Better = Literal["higher", "lower"]

REPLICATES = 1000
MOST_BLOCKS = 4000
"""More rows than these share blocks, so that time and memory do not grow with the rows."""
FEWEST_BLOCKS = 5
"""A far horizon leaves at least so many: of fewer nothing can be drawn."""
SMALLEST_SHARE = float(np.finfo(np.float32).eps)
"""Class shares below it count as it in a logarithm, as scikit-learn does for float32."""


def measure(
    task: str, outputs: Outputs, target: Target, *, confidence: float = 0.95, seed: int = 0, horizon: int = 1
) -> list[Metric]:
    """The metrics of `task` over the rows, each with an interval of `confidence`; `seed` is of the bootstrap.

    `horizon`: the rows that a forecast looks ahead.

    Classification: accuracy, f1_macro, log_loss. Regression and forecast: rmse, mae, and r2 unless the target is
    constant. Raises EngineError ``outputs_not_finite``.
    """
    blocks = blocks_of(task, len(target), seed, horizon)
    sums = _sums(task, outputs, target, blocks)
    total, drawn = sums.sum(axis=0, keepdims=True), _replicates(sums, seed)
    made = []
    for name, better, of in _metrics(task):
        value = float(of(total)[0])
        if not math.isfinite(value):
            continue  # r2 of a constant target
        if name == "accuracy":
            made.append(share(name, round(value * len(target)), len(target), confidence, better))
            continue
        low, high = interval_of(of(drawn), confidence)
        made.append(_metric(name, value, (low, high), confidence, _method(task), better))
    return made


def difference(
    task: str,
    outputs: Outputs,
    others: Outputs,
    target: Target,
    *,
    confidence: float = 0.95,
    seed: int = 0,
    horizon: int = 1,
) -> list[Metric]:
    """`measure` of `outputs` less that of `others` on the same rows, with paired intervals: each replicate draws
    the same rows for both. The two differ, at this confidence, where 0 lies outside."""
    blocks = blocks_of(task, len(target), seed, horizon)
    ours, theirs = _sums(task, outputs, target, blocks), _sums(task, others, target, blocks)
    drawn = _replicates(ours, seed), _replicates(theirs, seed)
    made = []
    for name, better, of in _metrics(task):
        value = float(of(ours.sum(axis=0, keepdims=True))[0] - of(theirs.sum(axis=0, keepdims=True))[0])
        if math.isfinite(value):
            low, high = interval_of(of(drawn[0]) - of(drawn[1]), confidence)
            made.append(_metric(name, value, (low, high), confidence, f"paired {_method(task)}", better))
    return made


def same_class(outputs: Outputs, others: Outputs, *, confidence: float = 0.95) -> Metric:
    """The share of rows for which two models name the same class, with Wilson's interval."""
    equal = outputs.argmax(axis=1) == others.argmax(axis=1)
    return share("same_class", int(equal.sum()), len(equal), confidence, "higher")


def share(name: str, hits: int, rows: int, confidence: float, better: Better) -> Metric:
    """`hits` of `rows` as a metric with Wilson's score interval (Wilson, 1927)."""
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    p = hits / rows
    middle = (p + z * z / (2 * rows)) / (1 + z * z / rows)
    reach = z / (1 + z * z / rows) * math.sqrt(p * (1 - p) / rows + z * z / (4 * rows * rows))
    bounds = max(0.0, min(p, middle - reach)), min(1.0, max(p, middle + reach))
    return _metric(name, p, bounds, confidence, "wilson", better)


def _metric(
    name: str, value: float, bounds: tuple[float, float], confidence: float, method: str, better: Better
) -> Metric:
    low, high = bounds
    return Metric(name=name, value=value, low=low, high=high, confidence=confidence, method=method, better=better)


def _method(task: str) -> str:
    return "block bootstrap" if task == "forecast" else "bootstrap"


def blocks_of(task: str, rows: int, seed: int, horizon: int) -> npt.NDArray[np.int64]:
    """The block of each row, (rows,), counted from 0."""
    length = math.ceil(rows / MOST_BLOCKS)
    if task == "forecast":
        overlap = min(2 * (horizon - 1), rows // FEWEST_BLOCKS)
        length = max(length, math.ceil(rows ** (1 / 3)), overlap)
    blocks = np.arange(rows) // length
    return blocks if task == "forecast" else np.random.default_rng((seed, 1)).permutation(blocks)


def draws_of(count: int, seed: int, replicates: int = REPLICATES) -> npt.NDArray[np.int64]:
    """How often each of `count` blocks is drawn, (replicates, count); equal seeds draw equal blocks."""
    random = np.random.default_rng((seed, 2))
    return np.asarray(random.multinomial(count, np.full(count, 1 / count), size=replicates), np.int64)


def _replicates(sums: Floats, seed: int) -> Floats:
    """Sums (REPLICATES, k) of blocks drawn with replacement from `sums` (blocks, k)."""
    return np.asarray(draws_of(len(sums), seed) @ sums)


def interval_of(values: Floats, confidence: float) -> tuple[float, float]:
    """The percentile interval of replicates."""
    finite = values[np.isfinite(values)]  # a replicate of equal rows has no r2
    low, high = np.quantile(finite, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)


def _sums(task: str, outputs: Outputs, target: Target, blocks: npt.NDArray[np.int64]) -> Floats:
    if not np.isfinite(outputs).all():
        raise EngineError(
            "outputs_not_finite",
            "The model gives infinite values, or none, for some of the held-out rows.",
            field="inputs/model",
            value=f"row {int(np.flatnonzero(~np.isfinite(outputs).all(axis=1))[0])}",
            limit="finite values",
            hint=N_("Train with a lower max_lr, and look for extreme values in the features."),
        )
    return (_class_sums if task == "classification" else _value_sums)(outputs, target, blocks)


def _value_sums(outputs: Outputs, target: Target, blocks: npt.NDArray[np.int64]) -> Floats:
    """Per block: rows, absolute errors, squared errors, targets less their median, the squares of those."""
    wanted = target.astype(np.float64)
    error = outputs[:, 0].astype(np.float64) - wanted
    centred = wanted - np.median(wanted)  # of equal values it is exactly their value, as a mean need not be
    columns = (np.ones_like(error), np.abs(error), error**2, centred, centred**2)
    return np.column_stack([np.bincount(blocks, weights=column) for column in columns])


def _class_sums(outputs: Outputs, target: Target, blocks: npt.NDArray[np.int64]) -> Floats:
    """Per block: rows, hits, -log of the right class's share; then per class hits, and predictions plus targets."""
    classes, count = outputs.shape[1], int(blocks.max()) + 1
    guess = outputs.argmax(axis=1)
    right = np.take_along_axis(outputs, target[:, None], axis=1)[:, 0].astype(np.float64)
    columns = (np.ones(len(target)), guess == target, -np.log(np.clip(right, SMALLEST_SHARE, 1.0)))
    plain = np.column_stack([np.bincount(blocks, weights=column) for column in columns])

    def per_class(of: Target, among: npt.NDArray[np.int64]) -> Floats:
        cells = np.bincount(among * classes + of, minlength=count * classes)
        return cells.reshape(count, classes).astype(np.float64)

    hits = per_class(target[guess == target], blocks[guess == target])
    return np.column_stack([plain, hits, per_class(guess, blocks) + per_class(target, blocks)])


def _metrics(task: str) -> tuple[tuple[str, Better, Callable[[Floats], Floats]], ...]:
    """Name, direction, and the function of sums (m, k) to values (m,)."""
    if task == "classification":
        return (
            ("accuracy", "higher", lambda s: s[:, 1] / s[:, 0]),
            ("f1_macro", "higher", _f1_macro),
            ("log_loss", "lower", lambda s: s[:, 2] / s[:, 0]),
        )
    return (
        ("rmse", "lower", lambda s: np.sqrt(s[:, 2] / s[:, 0])),
        ("mae", "lower", lambda s: s[:, 1] / s[:, 0]),
        ("r2", "higher", _r2),
    )


def _r2(sums: Floats) -> Floats:
    spread = sums[:, 4] - sums[:, 3] ** 2 / sums[:, 0]
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(np.where(spread > 0, 1 - sums[:, 2] / spread, np.nan))


def _f1_macro(sums: Floats) -> Floats:
    """The mean over the classes that occur, as target or as prediction, of 2 hits / (predictions + targets)."""
    classes = (sums.shape[1] - 3) // 2
    hits, both = sums[:, 3 : 3 + classes], sums[:, 3 + classes :]
    occurs = both > 0
    f1 = np.divide(2 * hits, both, out=np.zeros_like(hits), where=occurs)
    return np.asarray(f1.sum(axis=1) / occurs.sum(axis=1))
