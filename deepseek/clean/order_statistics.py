"""Exact quantiles and medians of columns of any length, in bounded memory, as rounds over the partitions of a table.

What fits is gathered at once; of what does not, `Selection` finds the ranks in a few passes. Both give the same bits.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from deepseek.partitions.rounds import Round, Rounds, run_rounds
from deepseek.quality.measures.exact_sum import ExactSum
from deepseek.quality.measures.selection import Floats, Selection
from deepseek.tables.batches import Batches

ReadValues = Callable[[], Iterator[Floats]]
ReadPartition = Callable[[Batches], Iterator[Floats]]
"""The values of one partition, in float64."""

MAX_VALUES_IN_MEMORY = 2**21
"""Values of 8 bytes that are held at once, at most, besides the batch that is being read."""
MAX_FLOAT = float(np.finfo(np.float64).max)


def count_rounds(read: ReadPartition) -> Rounds[int]:
    """One round: how many values are finite."""
    total = 0

    def accept(count: int, _: None) -> None:
        nonlocal total
        total = count

    yield Round(
        lambda source: sum(int(np.count_nonzero(np.isfinite(values))) for values in read(source)),
        lambda states, _: (sum(states), [None] * len(states)),
        accept,
    )
    return total


def sum_rounds(read: ReadPartition) -> Rounds[float]:
    """One round: the exact sum of the values, rounded once."""
    total = 0.0

    def scan(source: Batches) -> ExactSum:
        part = ExactSum()
        for values in read(source):
            part.add(values)
        return part

    def merge(states: Sequence[ExactSum], _: Any) -> tuple[float, list[None]]:
        merged = ExactSum()
        for state in states:
            merged.merge(state)
        return merged.compute_total(), [None] * len(states)

    def accept(shared: float, _: None) -> None:
        nonlocal total
        total = shared

    yield Round(scan, merge, accept)
    return total


def rank_rounds(read: ReadPartition, ranks: Sequence[int], count: int) -> Rounds[list[float]]:
    """The finite values of these ranks, 0 the smallest, of `count` in all partitions together."""
    if count <= MAX_VALUES_IN_MEMORY:
        return (yield from _gather_rounds(read, ranks))
    selection = Selection(-MAX_FLOAT, MAX_FLOAT, ranks, max_sorted=MAX_VALUES_IN_MEMORY)

    def scan(source: Batches) -> Selection:
        part = selection.begin_part()
        for values in read(source):
            part.take(values[np.isfinite(values)])
        return part

    def merge(states: Sequence[Selection], _: Any) -> tuple[Selection, list[None]]:
        merged = selection.begin_part()
        for state in states:
            merged.merge(state)
        merged.results = dict(selection.results)
        merged.end_pass()
        return merged, [None] * len(states)

    def accept(shared: Selection, _: None) -> None:
        nonlocal selection
        selection = shared

    while not selection.done:
        yield Round(scan, merge, accept)
    return [selection.results[rank] for rank in ranks]


def _gather_rounds(read: ReadPartition, ranks: Sequence[int]) -> Rounds[list[float]]:
    rank_values: list[float] = []

    def merge(states: Sequence[Floats], _: Any) -> tuple[list[float], list[None]]:
        values = np.concatenate(states) + 0.0  # both zeros are one
        values.partition(sorted(set(ranks)))
        return [float(values[rank]) for rank in ranks], [None] * len(states)

    def accept(shared: list[float], _: None) -> None:
        rank_values.extend(shared)

    yield Round(
        lambda source: np.concatenate([np.zeros(0), *(values[np.isfinite(values)] for values in read(source))]),
        merge,
        accept,
    )
    return rank_values


def quantile_rounds(read: ReadPartition, shares: Sequence[float], count: int) -> Rounds[list[float]]:
    """What ``numpy.quantile`` gives (linear interpolation) for the `count` finite values."""
    ranks: list[int] = []
    for share in shares:
        low = int(np.floor(share * (count - 1)))
        ranks += [low, min(low + 1, count - 1)]
    values = yield from rank_rounds(read, ranks, count)
    quantile_values = []
    with np.errstate(over="ignore", invalid="ignore"):
        for place, share in enumerate(shares):
            between = share * (count - 1) - ranks[2 * place]
            quantile_values.append(float(np.quantile(np.array(values[2 * place : 2 * place + 2]), between)))
    return quantile_values


def median_rounds(read: ReadPartition, count: int) -> Rounds[float]:
    """What ``numpy.median`` gives for the `count` finite values."""
    low, high = yield from rank_rounds(read, [(count - 1) // 2, count // 2], count)
    with np.errstate(over="ignore"):
        return float(np.median(np.array([low, high] if count % 2 == 0 else [low])))


def compute_median(read: ReadValues, count: int) -> float:
    """`median_rounds` of values in one piece; `read` gives all of them anew at each call."""
    return run_rounds(median_rounds(lambda _: read(), count), NO_TABLE)


def count_finite(read: ReadValues) -> int:
    """How many values are finite."""
    return run_rounds(count_rounds(lambda _: read()), NO_TABLE)


def compute_mean(read: ReadValues, count: int) -> float:
    """The mean of the `count` finite values: their exact sum, divided once."""
    return run_rounds(sum_rounds(lambda _: (values[np.isfinite(values)] for values in read())), NO_TABLE) / count


NO_TABLE: Any = None
"""Of rounds whose values come from elsewhere."""
