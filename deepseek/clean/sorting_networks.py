"""Medians of narrow windows by sorting networks: the same compare-exchange for all windows at once, column by column.

A window of 3, 5, 7 or 9 rows around a missing value holds 2, 4, 6 or 8 other values. They are gathered as so many
columns and sorted by a network (Knuth, The Art of Computer Programming, vol. 3, 5.3.4); each comparator is one
`fmin` and one `maximum` over a chunk that stays in the second-level cache: no branch, and missing values end last.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.floating[Any]]
Rows = npt.NDArray[np.intp]

CHUNK_ROWS = 1 << 13
NETWORKS = {
    2: ((0, 1),),
    4: ((0, 1), (2, 3), (0, 2), (1, 3), (1, 2)),
    6: ((1, 2), (4, 5), (0, 2), (3, 5), (0, 1), (3, 4), (2, 5), (0, 3), (1, 4), (2, 4), (1, 3), (2, 3)),
    8: (
        *((0, 1), (2, 3), (4, 5), (6, 7), (0, 2), (1, 3), (4, 6), (5, 7), (1, 2), (5, 6)),
        *((0, 4), (1, 5), (2, 6), (3, 7), (2, 4), (3, 5), (1, 2), (3, 4), (5, 6)),
    ),
}  # fmt: skip
"""By number of values: the pairs to compare, in order; each network sorts any input, as the 0-1 principle shows."""


def has_network(values: Floats, half: int) -> bool:
    """Whether there is a network for windows of this half-width, and vector instructions for this dtype."""
    return 2 * half in NETWORKS and values.dtype in (np.float32, np.float64)


def sort_columns(values: Floats, starts: Rows, half: int, room: Floats) -> list[Floats]:
    """The values of the windows that begin at `starts`, the middle one left out: ascending, NaN last.

    One column of ``starts.size`` values for each place; they lie in `room`, of shape (2 * half + 1, at least as many).
    """
    columns = [room[place, : starts.size] for place in range(2 * half + 1)]
    for place, column in zip([*range(half), *range(half + 1, 2 * half + 1)], columns, strict=False):
        values[place:].take(starts, out=column, mode="clip")  # clip: raise would copy through a buffer
    spare = columns.pop()
    for low, high in NETWORKS[2 * half]:
        a, b = columns[low], columns[high]
        np.fmin(a, b, out=spare)
        np.maximum(a, b, out=b)
        columns[low], spare = spare, a
    return columns


def compute_medians_around_gaps(values: Floats, starts: Rows, half: int, out: Floats) -> None:
    """Write into `out` the median of the whole window that begins at each of `starts`, whose middle is missing."""
    width = 2 * half
    room = np.empty((width + 1, min(CHUNK_ROWS, starts.size)), dtype=values.dtype)
    two = values.dtype.type(2)
    for begin in range(0, starts.size, CHUNK_ROWS):
        part = starts[begin : begin + CHUNK_ROWS]
        columns = sort_columns(values, part, half, room)
        answer = out[begin : begin + part.size]
        with np.errstate(all="ignore"):
            np.add(columns[half - 1], columns[half], out=answer)
            answer += 0  # -0.0 comes out as 0.0, as numpy.median sums from +0.0
            answer /= two
        _correct_short_windows(columns, answer)


def _correct_short_windows(columns: list[Floats], answer: Floats) -> None:
    """The median where a window has fewer values: the last column is NaN there, and so on, ever fewer rows."""
    cut: Rows | None = None
    for count in range(len(columns) - 1, -1, -1):
        last = columns[count] if cut is None else columns[count].take(cut)
        rows = np.flatnonzero(np.isnan(last))
        cut = rows if cut is None else cut.take(rows)
        if not cut.size:
            return
        low = columns[max(count - 1, 0) // 2].take(cut)
        if count % 2:
            answer[cut] = low + 0
        elif count:
            with np.errstate(all="ignore"):
                answer[cut] = (low + columns[count // 2].take(cut) + 0) / answer.dtype.type(2)
        else:
            answer[cut] = get_empty_median(answer.dtype)


def get_empty_median(dtype: np.dtype[Any]) -> Any:
    """The NaN that ``numpy.median`` gives for no values at all; its sign bit differs from ``numpy.nan`` on x86."""
    with np.errstate(all="ignore"):
        zero = np.zeros((), dtype=dtype)
        return np.divide(zero, zero)


def find_true(mask: npt.NDArray[np.bool_]) -> Rows:
    """``numpy.flatnonzero`` of a mask, faster where between a fiftieth and a tenth of it is true.

    Up to a tenth numpy looks for one true after the other, and mispredicts a branch at each; above, it goes without
    branches, three times as fast here. So the mask is filled up with trues to just above a tenth; they are cut off.
    """
    count = int(np.count_nonzero(mask))
    if mask.size < 1000 or not mask.size < 50 * count or 10 * count > mask.size:
        return np.flatnonzero(mask)
    more = (mask.size // 10 - count) * 10 // 9 + 10
    return np.flatnonzero(np.concatenate([mask, np.ones(more, dtype=bool)]))[:count]
