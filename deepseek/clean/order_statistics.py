"""Exact quantiles and medians of columns of any length, in bounded memory, and sums that do not depend on batches.

What fits is gathered at once; of what does not, `Selection` finds the ranks in a few passes. Both give the same bits.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from deepseek.quality.measures.selection import Floats, Selection

ReadValues = Callable[[], Iterator[Floats]]

MAX_VALUES_IN_MEMORY = 2**21
"""Values of 8 bytes that are held at once, at most, besides the batch that is being read."""
MAX_FLOAT = float(np.finfo(np.float64).max)


def select_ranks(read: ReadValues, ranks: Sequence[int], count: int) -> list[float]:
    """The finite values of these ranks, 0 the smallest; `read` gives all `count` of them anew at each call."""
    if count <= MAX_VALUES_IN_MEMORY:
        values_read = np.concatenate([values[np.isfinite(values)] for values in read()]) + 0.0  # both zeros are one
        values_read.partition(sorted(set(ranks)))
        return [float(values_read[rank]) for rank in ranks]
    selection = Selection(-MAX_FLOAT, MAX_FLOAT, ranks, max_sorted=MAX_VALUES_IN_MEMORY)
    while not selection.done:
        for values in read():
            selection.take(values[np.isfinite(values)])
        selection.end_pass()
    return [selection.results[rank] for rank in ranks]


def compute_quantiles(read: ReadValues, shares: Sequence[float], count: int) -> list[float]:
    """What ``numpy.quantile`` gives (linear interpolation) for the `count` finite values."""
    ranks: list[int] = []
    for share in shares:
        low = int(np.floor(share * (count - 1)))
        ranks += [low, min(low + 1, count - 1)]
    values = select_ranks(read, ranks, count)
    quantile_values = []
    with np.errstate(over="ignore", invalid="ignore"):
        for place, share in enumerate(shares):
            between = share * (count - 1) - ranks[2 * place]
            quantile_values.append(float(np.quantile(np.array(values[2 * place : 2 * place + 2]), between)))
    return quantile_values


def compute_median(read: ReadValues, count: int) -> float:
    """What ``numpy.median`` gives for the `count` finite values."""
    low, high = select_ranks(read, [(count - 1) // 2, count // 2], count)
    with np.errstate(over="ignore"):
        return float(np.median(np.array([low, high] if count % 2 == 0 else [low])))


def count_finite(read: ReadValues) -> int:
    return sum(int(np.count_nonzero(np.isfinite(values))) for values in read())


class BatchSum:
    """A sum that does not depend on how the values were cut into batches: of blocks of equal length, then exactly.

    Blocks are summed by numpy, pairwise; the sums of the blocks by Shewchuk's algorithm (``math.fsum``).
    """

    BLOCK = 65_536

    def __init__(self) -> None:
        self._blocks: list[float] = []
        self._rest: list[npt.NDArray[Any]] = []
        self._rest_size = 0
        self.count = 0

    def add(self, values: Floats) -> None:
        self.count += values.size
        self._rest.append(values)
        self._rest_size += values.size
        if self._rest_size >= self.BLOCK:
            joined = np.concatenate(self._rest)
            block_rows = joined.size // self.BLOCK * self.BLOCK
            for start in range(0, block_rows, self.BLOCK):
                self._blocks.append(float(joined[start : start + self.BLOCK].sum()))
            self._rest, self._rest_size = [joined[block_rows:]], joined.size - block_rows

    def compute_total(self) -> float:
        rest = float(np.concatenate(self._rest).sum()) if self._rest_size else 0.0
        try:
            return math.fsum([*self._blocks, rest])
        except (OverflowError, ValueError):
            return float(np.sum([*self._blocks, rest]))
