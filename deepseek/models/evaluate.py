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
    blocks = assign_blocks(task, len(target), seed, horizon)
    sums = _compute_sums(task, outputs, target, blocks)
    total, replicates = sums.sum(axis=0, keepdims=True), _draw_replicates(sums, seed)
    metrics = []
    for name, better, of in _list_metrics(task):
        value = float(of(total)[0])
        if not math.isfinite(value):
            continue  # r2 of a constant target
        if name == "accuracy":
            metrics.append(build_share_metric(name, round(value * len(target)), len(target), confidence, better))
            continue
        low, high = compute_interval(of(replicates), confidence)
        metrics.append(_build_metric(name, value, (low, high), confidence, _get_method(task), better))
    return metrics


def compute_headline(task: str, outputs: Outputs, target: Target) -> tuple[str, Better, float]:
    """Name, direction and value of the first metric that `measure` gives, without its interval."""
    name, better, compute = _list_metrics(task)[0]
    sums = _compute_sums(task, outputs, target, np.zeros(len(target), np.int64))
    return name, better, float(compute(sums)[0])


def measure_difference(
    task: str,
    outputs: Outputs,
    reference: Outputs,
    target: Target,
    *,
    confidence: float = 0.95,
    seed: int = 0,
    horizon: int = 1,
) -> list[Metric]:
    """`measure` of `outputs` less that of `reference` on the same rows, with paired intervals: each replicate draws
    the same rows for both. The two differ, at this confidence, where 0 lies outside."""
    blocks = assign_blocks(task, len(target), seed, horizon)
    ours, theirs = _compute_sums(task, outputs, target, blocks), _compute_sums(task, reference, target, blocks)
    replicates = _draw_replicates(ours, seed), _draw_replicates(theirs, seed)
    metrics = []
    for name, better, of in _list_metrics(task):
        value = float(of(ours.sum(axis=0, keepdims=True))[0] - of(theirs.sum(axis=0, keepdims=True))[0])
        if math.isfinite(value):
            low, high = compute_interval(of(replicates[0]) - of(replicates[1]), confidence)
            metrics.append(_build_metric(name, value, (low, high), confidence, f"paired {_get_method(task)}", better))
    return metrics


def compare_classes(outputs: Outputs, reference: Outputs, *, confidence: float = 0.95) -> Metric:
    """The share of rows for which two models name the same class, with Wilson's interval."""
    equal = outputs.argmax(axis=1) == reference.argmax(axis=1)
    return build_share_metric("same_class", int(equal.sum()), len(equal), confidence, "higher")


def build_share_metric(name: str, hits: int, rows: int, confidence: float, better: Better) -> Metric:
    """`hits` of `rows` as a metric with Wilson's score interval (Wilson, 1927)."""
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    p = hits / rows
    middle = (p + z * z / (2 * rows)) / (1 + z * z / rows)
    reach = z / (1 + z * z / rows) * math.sqrt(p * (1 - p) / rows + z * z / (4 * rows * rows))
    bounds = max(0.0, min(p, middle - reach)), min(1.0, max(p, middle + reach))
    return _build_metric(name, p, bounds, confidence, "wilson", better)


def _build_metric(
    name: str, value: float, bounds: tuple[float, float], confidence: float, method: str, better: Better
) -> Metric:
    low, high = bounds
    return Metric(name=name, value=value, low=low, high=high, confidence=confidence, method=method, better=better)


def _get_method(task: str) -> str:
    return "block bootstrap" if task == "forecast" else "bootstrap"


def assign_blocks(task: str, rows: int, seed: int, horizon: int) -> npt.NDArray[np.int64]:
    """The block of each row, (rows,), counted from 0."""
    length = math.ceil(rows / MOST_BLOCKS)
    if task == "forecast":
        overlap = min(2 * (horizon - 1), rows // FEWEST_BLOCKS)
        length = max(length, math.ceil(rows ** (1 / 3)), overlap)
    blocks = np.arange(rows) // length
    return blocks if task == "forecast" else np.random.default_rng((seed, 1)).permutation(blocks)


def draw_blocks(count: int, seed: int, replicates: int = REPLICATES) -> npt.NDArray[np.int64]:
    """How often each of `count` blocks is drawn, (replicates, count); equal seeds draw equal blocks."""
    random = np.random.default_rng((seed, 2))
    return np.asarray(random.multinomial(count, np.full(count, 1 / count), size=replicates), np.int64)


def _draw_replicates(sums: Floats, seed: int) -> Floats:
    """Sums (REPLICATES, k) of blocks drawn with replacement from `sums` (blocks, k)."""
    return np.asarray(draw_blocks(len(sums), seed) @ sums)


def compute_interval(values: Floats, confidence: float) -> tuple[float, float]:
    """The percentile interval of replicates."""
    finite = values[np.isfinite(values)]  # a replicate of equal rows has no r2
    low, high = np.quantile(finite, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)


def _compute_sums(task: str, outputs: Outputs, target: Target, blocks: npt.NDArray[np.int64]) -> Floats:
    if not np.isfinite(outputs).all():
        raise EngineError(
            "outputs_not_finite",
            "The model gives infinite values, or none, for some of the held-out rows.",
            field="inputs/model",
            value=f"row {int(np.flatnonzero(~np.isfinite(outputs).all(axis=1))[0])}",
            limit="finite values",
            hint=N_("Train with a lower max_lr, and look for extreme values in the features."),
        )
    return (_sum_classes if task == "classification" else _sum_values)(outputs, target, blocks)


def _sum_values(outputs: Outputs, target: Target, blocks: npt.NDArray[np.int64]) -> Floats:
    """Per block: rows, absolute errors, squared errors, targets less their median, the squares of those."""
    actual = target.astype(np.float64)
    error = outputs[:, 0].astype(np.float64) - actual
    centred = actual - np.median(actual)  # of equal values it is exactly their value, as a mean need not be
    columns = (np.ones_like(error), np.abs(error), error**2, centred, centred**2)
    return np.column_stack([np.bincount(blocks, weights=column) for column in columns])


def _sum_classes(outputs: Outputs, target: Target, blocks: npt.NDArray[np.int64]) -> Floats:
    """Per block: rows, hits, -log of the right class's share; then per class hits, and predictions plus targets."""
    classes, count = outputs.shape[1], int(blocks.max()) + 1
    guess = outputs.argmax(axis=1)
    right = np.take_along_axis(outputs, target[:, None], axis=1)[:, 0].astype(np.float64)
    columns = (np.ones(len(target)), guess == target, -np.log(np.clip(right, SMALLEST_SHARE, 1.0)))
    totals = np.column_stack([np.bincount(blocks, weights=column) for column in columns])

    def count_per_class(of: Target, among: npt.NDArray[np.int64]) -> Floats:
        cells = np.bincount(among * classes + of, minlength=count * classes)
        return cells.reshape(count, classes).astype(np.float64)

    hits = count_per_class(target[guess == target], blocks[guess == target])
    return np.column_stack([totals, hits, count_per_class(guess, blocks) + count_per_class(target, blocks)])


def _list_metrics(task: str) -> tuple[tuple[str, Better, Callable[[Floats], Floats]], ...]:
    """Name, direction, and the function of sums (m, k) to values (m,)."""
    if task == "classification":
        return (
            ("accuracy", "higher", lambda s: s[:, 1] / s[:, 0]),
            ("f1_macro", "higher", _compute_f1_macro),
            ("log_loss", "lower", lambda s: s[:, 2] / s[:, 0]),
        )
    return (
        ("rmse", "lower", lambda s: np.sqrt(s[:, 2] / s[:, 0])),
        ("mae", "lower", lambda s: s[:, 1] / s[:, 0]),
        ("r2", "higher", _compute_r2),
    )


def _compute_r2(sums: Floats) -> Floats:
    spread = sums[:, 4] - sums[:, 3] ** 2 / sums[:, 0]
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(np.where(spread > 0, 1 - sums[:, 2] / spread, np.nan))


def _compute_f1_macro(sums: Floats) -> Floats:
    """The mean over the classes that occur, as target or as prediction, of 2 hits / (predictions + targets)."""
    classes = (sums.shape[1] - 3) // 2
    hits, both = sums[:, 3 : 3 + classes], sums[:, 3 + classes :]
    occurs = both > 0
    f1 = np.divide(2 * hits, both, out=np.zeros_like(hits), where=occurs)
    return np.asarray(f1.sum(axis=1) / occurs.sum(axis=1))
