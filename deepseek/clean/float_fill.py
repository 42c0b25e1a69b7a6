"""The sliding median fill of float arrays. Apart from `median_fill`, whose pandas takes half of a process's start."""

import numpy as np

from deepseek.clean.sorting_networks import find_true
from deepseek.clean.window_medians import Floats, compute_medians_at

BLOCK_ROWS = 1 << 20
EXACT_INTEGER = 2**53
"""Up to here float64 holds every integer."""


def fill_floats(values: Floats, half: int) -> Floats:
    """A copy of a float array of shape (n,) with NaN filled.

    It goes block by block: besides the result it needs the memory of one block, however long the array is.
    """
    block = max(BLOCK_ROWS, 8 * half)
    filled = np.empty_like(values)
    for start in range(0, values.size, block):
        part = values[start : start + block]
        after = filled[start : start + block]
        after[:] = part
        rows = find_true(np.isnan(part))
        if rows.size:
            left = min(start, half)
            around = values[start - left : start + part.size + half]
            after[rows] = compute_medians_at(around, rows + left, half, gaps=True)
    return filled
