"""The area under the ROC curve of rows that may be drawn more than once."""

import numpy as np
import numpy.typing as npt

from deepseek.evaluate.measures import Blocks, Draws, Floats

MOST_ROWS = 20_000
"""More rows than these are drawn on levels of their scores, and the draws shifted so that they lie around the exact
value: time then grows with the levels, not with the rows times the replicates."""
LEVELS = 512
_CELLS = 1 << 22  # weights at a time


def compute_auc(scores: Floats, positive: npt.NDArray[np.bool_], blocks: Blocks, draws: Draws) -> Floats:
    """The share of pairs of a positive and another row in which the positive one has the higher score, a tie being
    half (Hanley and McNeil 1982), for each draw (m, blocks) of the blocks of the rows (n,). NaN without such a pair."""
    _, level = np.unique(scores, return_inverse=True)
    if len(scores) <= MOST_ROWS or len(draws) == 1:
        return _compute_exact_auc(level, positive, blocks, draws)
    rough = level * LEVELS // (int(level.max()) + 1)
    once = np.ones((1, draws.shape[1]))
    shift = _compute_exact_auc(level, positive, blocks, once) - _compute_binned_auc(rough, positive, blocks, once)
    return np.asarray(np.clip(_compute_binned_auc(rough, positive, blocks, draws) + shift, 0.0, 1.0))


def _compute_exact_auc(level: Blocks, positive: npt.NDArray[np.bool_], blocks: Blocks, draws: Draws) -> Floats:
    order = np.argsort(level, kind="stable")
    level, positive, blocks = level[order], positive[order], blocks[order]
    starts = np.flatnonzero(np.diff(level, prepend=-1))
    areas = []
    for chunk in np.array_split(draws, max(1, -(-len(draws) * len(level) // _CELLS))):
        weights = chunk[:, blocks].astype(np.float64)
        ups = np.add.reduceat(weights * positive, starts, axis=1)
        downs = np.add.reduceat(weights * ~positive, starts, axis=1)
        areas.append(_compute_area(ups, downs))
    return np.concatenate(areas)


def _compute_binned_auc(level: Blocks, positive: npt.NDArray[np.bool_], blocks: Blocks, draws: Draws) -> Floats:
    cells, shape = blocks * LEVELS + level, (draws.shape[1], LEVELS)
    ups, downs = (
        draws @ np.bincount(cells[rows], minlength=shape[0] * LEVELS).reshape(shape).astype(np.float64)
        for rows in (positive, ~positive)
    )
    return _compute_area(ups, downs)


def _compute_area(ups: Floats, downs: Floats) -> Floats:
    """Of weights (m, levels) of positive and other rows, by ascending score."""
    below = np.cumsum(downs, axis=1) - downs
    pairs = ups.sum(axis=1) * downs.sum(axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(np.where(pairs > 0, (ups * (below + downs / 2)).sum(axis=1) / pairs, np.nan))
