"""What a metric is here: a value of rows that may be drawn more than once, so that one bootstrap serves all.

Rows lie in blocks (deepseek/models/evaluate.py says why and how long), a replicate draws blocks with replacement, and
a metric takes how often each was drawn. Most metrics are functions of sums over blocks; the area under the curve and
the ranking metrics are not, or are of queries, and take the same draws.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from deepseek.models.evaluate import Better

Floats = npt.NDArray[np.float64]
Outputs = npt.NDArray[np.float32]  # (n, 1) values, or (n, C) class shares
Target = npt.NDArray[Any]  # (n,) float32 values, or int64 places in the classes
Blocks = npt.NDArray[np.int64]  # (n,) the block of each row
Draws = npt.NDArray[Any]  # (m, blocks) how often each block counts


@dataclass(frozen=True)
class Measure:
    """A metric of some rows; `of` takes draws (m, blocks) and gives values (m,), NaN where it is not defined."""

    name: str
    better: Better
    of: Callable[[Draws], Floats]


def sum_by_block(columns: list[Floats], blocks: Blocks, count: int) -> Floats:
    """Sums (count, k) over the rows of each block of `columns`, k arrays of shape (n,)."""
    return np.column_stack([np.bincount(blocks, weights=column, minlength=count) for column in columns])


def build_sum_measures(
    sums: Floats, definitions: list[tuple[str, Better, Callable[[Floats], Floats]]]
) -> list[Measure]:
    """Measures that are functions of sums (m, k) over blocks. The sums of equal draws are made once."""
    last: list[tuple[Draws, Floats]] = []

    def sum_draws(draws: Draws) -> Floats:
        if not last or last[0][0] is not draws:
            last[:] = [(draws, np.asarray(draws @ sums, np.float64))]
        return last[0][1]

    def measure(function: Callable[[Floats], Floats]) -> Callable[[Draws], Floats]:
        return lambda draws: function(sum_draws(draws))

    return [Measure(name, better, measure(function)) for name, better, function in definitions]


def divide_or_nan(above: Floats, below: Floats) -> Floats:
    """above / below, NaN where nothing is below."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(np.where(below > 0, above / below, np.nan))
