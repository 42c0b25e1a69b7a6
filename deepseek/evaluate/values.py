"""Metrics of numbers: RMSE, MAE, R2, and MAPE where it is sound."""

import numpy as np

from deepseek.evaluate.measures import (
    Blocks,
    Floats,
    Measure,
    Outputs,
    Target,
    build_sum_measures,
    divide_or_nan,
    sum_by_block,
)


def build_value_measures(outputs: Outputs, target: Target, blocks: Blocks, count: int) -> list[Measure]:
    """rmse, mae, r2, mape of outputs (n, 1) against target (n,). Better is lower, but for r2.

    R2 = 1 - SSE / SST, with SST around the mean of the rows drawn; not defined where all are equal. MAPE, the mean of
    abs(error) / abs(target), is sound only of a quantity with a zero that means none (Hyndman and Koehler, "Another
    look at measures of forecast accuracy", 2006): it is left out unless every target is above zero.
    """
    actual = target.astype(np.float64)
    error = outputs[:, 0].astype(np.float64) - actual
    centred = actual - np.median(actual)  # of equal values it is exactly their value, as a mean need not be
    positive = bool((actual > 0).all())
    share = np.abs(error) / actual if positive else np.zeros_like(error)
    sums = sum_by_block([np.ones_like(error), np.abs(error), error**2, centred, centred**2, share], blocks, count)

    def compute_r2(s: Floats) -> Floats:
        spread = s[:, 4] - divide_or_nan(s[:, 3] ** 2, s[:, 0])
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.asarray(np.where(spread > 0, 1 - s[:, 2] / spread, np.nan))

    measures = build_sum_measures(
        sums,
        [
            ("rmse", "lower", lambda s: np.sqrt(divide_or_nan(s[:, 2], s[:, 0]))),
            ("mae", "lower", lambda s: divide_or_nan(s[:, 1], s[:, 0])),
            ("r2", "higher", compute_r2),
            ("mape", "lower", lambda s: divide_or_nan(s[:, 5], s[:, 0])),
        ],
    )
    return measures if positive else measures[:-1]
