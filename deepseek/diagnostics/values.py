"""What a regression or forecast does on held-out rows: predictions beside targets, and how residuals lie."""

import numpy as np

from deepseek.diagnostics.document import MAX_BINS, MAX_SCATTER_POINTS, Residuals, Scatter
from deepseek.diagnostics.rounding import round_all, round_value
from deepseek.evaluate.measures import Blocks, Floats


def build_scatter(predicted: Floats, actual: Floats, seed: int) -> Scatter:
    """All rows, or as many as are drawn of them by the seed, in their order."""
    count = len(actual)
    rows: Blocks = np.arange(count)
    if count > MAX_SCATTER_POINTS:
        rows = np.sort(np.random.default_rng((seed, 4)).choice(count, MAX_SCATTER_POINTS, replace=False))
    return Scatter(of=count, rows=rows.tolist(), actual=round_all(actual[rows]), predicted=round_all(predicted[rows]))


def build_residuals(predicted: Floats, actual: Floats) -> Residuals:
    """The residuals of all rows in about as many bins as the square root of the rows."""
    residuals = predicted - actual
    bins = int(np.clip(np.ceil(np.sqrt(len(residuals))), 5, MAX_BINS))
    low, high = float(residuals.min()), float(residuals.max())
    if not high > low:
        room = abs(low) * 1e-3 or 1.0
        low, high = low - room, high + room
    counts, edges = np.histogram(residuals, bins=bins, range=(low, high))
    return Residuals(
        mean=round_value(float(residuals.mean())),
        deviation=round_value(float(residuals.std())),
        edges=round_all(edges),
        counts=counts.tolist(),
    )
