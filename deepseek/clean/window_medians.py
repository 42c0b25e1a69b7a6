"""Medians of centred windows, at chosen rows only, in numpy.

A window of half-width h at row i is the slice ``[max(0, i - h), min(n, i + h + 1))``; its median is over the values
in it that are not NaN. Two ways compute the same bits:

* **sort**: gather the windows of a chunk of rows and sort each. Unbeaten while windows are narrow or few; the
  narrowest around gaps are sorted by networks, see `sorting_networks`.
* **descent**: one offline walk down a wavelet matrix (Claude and Navarro, "The Wavelet Matrix", 2012) that answers all
  "k-th smallest between l and r" queries together, bit by bit of the rank. Its cost does not depend on the width.

Memory besides input and output: about ``CHUNK_BYTES`` for sort; about ten words per row of a block for descent.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from deepseek.clean.sorting_networks import compute_medians_around_gaps, get_empty_median, has_network

Floats = npt.NDArray[np.floating[Any]]
Rows = npt.NDArray[np.intp]

CHUNK_BYTES = 1 << 20
"""Bytes of gathered windows sorted at once: fits a core's second-level cache, and is far below the limit of 32 MiB."""
BLOCK_ROWS = 1 << 16
"""Rows that one descent covers, besides the overhang of a window on either side."""
# Costs in nanoseconds, measured; only their ratios matter, and only for speed: both ways give the same result.
_SORT_PER_CELL, _DESCENT_PER_ROW, _DESCENT_PER_QUERY = 2.5, 110.0, 150.0


def compute_medians_at(values: Floats, rows: Rows, half: int, *, gaps: bool = False) -> Floats:
    """Median of the non-NaN values of the window at each of `rows`; NaN where the window holds none.

    `gaps`: every one of `rows` is missing itself, which lets narrow windows be sorted by networks.

    `values`: shape (n,), float16, 32, 64 or longer; `rows`: shape (m,), ascending; `half`: h >= 0, in rows.
    Returns shape (m,) in the dtype of `values`, with the very bits that ``numpy.median`` gives for each window.
    """
    half = min(half, values.size)
    width = min(2 * half + 1, values.size)
    sort_cost = rows.size * width * _SORT_PER_CELL
    descent_cost = values.size * _DESCENT_PER_ROW + rows.size * _DESCENT_PER_QUERY
    if sort_cost > descent_cost:
        return _compute_by_descent(values, rows, half)
    return _compute_by_sort(values, rows, half, gaps) if gaps else _compute_by_sort(values, rows, half)


def _compute_by_sort(values: Floats, rows: Rows, half: int, gaps: bool = False) -> Floats:
    """Sort windows chunk by chunk. Whole windows come from `values`, those cut by an end from a padded strip."""
    n, width = values.size, 2 * half + 1
    out = np.empty(rows.size, dtype=values.dtype)
    first = int(np.searchsorted(rows, half, side="left"))
    last = max(first, int(np.searchsorted(rows, n - half, side="left")))
    if width <= n and gaps and has_network(values, half):
        compute_medians_around_gaps(values, rows[first:last] - half, half, out[first:last])
    elif width <= n:
        windows = np.lib.stride_tricks.sliding_window_view(values, width)
        count = _count_present(values, width) if 3 < width < 256 and rows.size * 16 > n else None
        _sort_chunks(windows, rows[first:last] - half, out[first:last], count)
    gap = np.full(half, np.nan, dtype=values.dtype)
    if first > 0:
        strip = np.concatenate([gap, values[: 2 * half], gap])
        _sort_chunks(np.lib.stride_tricks.sliding_window_view(strip, width), rows[:first], out[:first])
    if last < rows.size:
        start = max(0, n - 2 * half)
        strip = np.concatenate([gap, values[start:], gap])
        _sort_chunks(np.lib.stride_tricks.sliding_window_view(strip, width), rows[last:] - start, out[last:])
    return out


def _count_present(values: Floats, width: int) -> npt.NDArray[np.uint8]:
    """How many values of each window of `width` < 256 rows are there, by its first row: sums of bytes, by doubling."""
    sums = (values == values).view(np.uint8)
    total, done, span = None, 0, 1
    size = values.size - width + 1
    while True:
        if width & span:
            part = sums[done : done + size]
            total = part.copy() if total is None else np.add(total, part, out=total)
            done += span
        if 2 * span > width:
            return np.asarray(total)
        sums = sums[:-span] + sums[span:]
        span *= 2


def _sort_chunks(windows: Floats, starts: Rows, out: Floats, present: npt.NDArray[np.uint8] | None = None) -> None:
    """Write into `out` the median of each of ``windows[starts]``, gathering at most about CHUNK_BYTES at a time.

    `present`: how many values each window has, where that was counted for all of them.
    """
    width = windows.shape[1]
    step = max(1, CHUNK_BYTES // (width * windows.itemsize))
    for begin in range(0, starts.size, step):
        cells = windows[starts[begin : begin + step]]
        cells.sort(axis=1)  # NaN sorts last
        if present is None:
            count = width - np.count_nonzero(cells != cells, axis=1)
        else:
            count = present.take(starts[begin : begin + step]).astype(np.intp)
        flat, base = cells.reshape(-1), np.arange(0, cells.size, width)
        low = flat[base + (np.maximum(count - 1, 0) >> 1)]
        high = flat[base + np.minimum(count >> 1, width - 1)]
        out[begin : begin + step] = compute_middle(low, high, count)


def compute_middle(low: Floats, high: Floats, count: npt.NDArray[Any]) -> Floats:
    """The mean of the two middle values (an odd count: twice the one), with the rounding of ``numpy.median``.

    numpy sums from +0.0 in the dtype (float16: in float32), then divides by one or two. So a middle of -0.0 comes out
    as 0.0, an even count may overflow to infinity, an odd count never does, and infinities of both signs give NaN.
    """
    wide = low.astype(np.float32) if low.dtype == np.float16 else low
    with np.errstate(all="ignore"):
        total = wide + high  # of an odd count twice the one middle value: halved again it is exact
        total += 0
        total /= wide.dtype.type(2)
        over = np.flatnonzero(np.isinf(total))
        if over.size:
            odd = over[(count[over] & 1).astype(bool)]
            total[odd] = wide[odd] + 0
        mean = total.astype(low.dtype, copy=False)
    mean[count == 0] = get_empty_median(low.dtype)
    return mean


def _compute_by_descent(values: Floats, rows: Rows, half: int) -> Floats:
    """Cut the rows into blocks, each with the overhang of its windows, and answer every block by one descent."""
    out = np.empty(rows.size, dtype=values.dtype)
    span = max(BLOCK_ROWS, 4 * half)
    for start in range(0, values.size, span):
        begin, end = (int(x) for x in np.searchsorted(rows, (start, start + span)))
        if begin == end:
            continue
        left = max(0, start - half)
        block = values[left : start + span + half]
        out[begin:end] = _descend_block(block, rows[begin:end] - left, half)
    return out


def _descend_block(block: Floats, rows: Rows, half: int) -> Floats:
    """Medians at `rows` of one block: compact the present values, then ask for the one or two middle ranks."""
    present = block == block
    before = np.zeros(block.size + 1, dtype=np.int32)
    np.cumsum(present, out=before[1:])
    left = before[np.maximum(rows - half, 0)]
    right = before[np.minimum(rows + half + 1, block.size)]
    count = right - left
    low, high = np.full(rows.size, np.nan, block.dtype), np.full(rows.size, np.nan, block.dtype)
    nonempty = np.flatnonzero(count)
    if nonempty.size:
        values = block[present]
        order = np.argsort(values)
        ranks = np.empty(values.size, dtype=np.int32)
        ranks[order] = np.arange(values.size, dtype=np.int32)
        k = count[nonempty]
        pairs = nonempty[k & 1 == 0]  # only an even count has a second middle value
        queries = np.concatenate([nonempty, pairs])
        kth = np.concatenate([(k - 1) // 2, count[pairs] // 2])
        selected = values[order[_find_kth_smallest(ranks, left[queries], right[queries], kth)]]
        low[nonempty] = high[nonempty] = selected[: nonempty.size]
        high[pairs] = selected[nonempty.size :]
    return compute_middle(low, high, count)


def _find_kth_smallest(
    ranks: npt.NDArray[np.int32], left: npt.NDArray[np.int32], right: npt.NDArray[np.int32], kth: npt.NDArray[np.int32]
) -> npt.NDArray[np.int32]:
    """The `kth` smallest (0 first) of ``ranks[left:right]`` for each query; `ranks` is a permutation of 0..n-1.

    Per bit, from the highest: a query counts the zeros in its range, keeps to them if `kth` lies among them, else to
    the ones; then zeros and ones are parted stably, ones behind, and ranges move along. O((n + queries) log n).
    """
    answer = np.zeros_like(kth)
    zeros_before = np.zeros(ranks.size + 1, dtype=np.int32)
    for bit in range(int(ranks.size - 1).bit_length() - 1, -1, -1):
        is_zero = (ranks & np.int32(1 << bit)) == 0
        np.cumsum(is_zero, out=zeros_before[1:])
        zeros, from_left, from_right = zeros_before[-1], zeros_before[left], zeros_before[right]
        inside = from_right - from_left
        goes_right = kth >= inside
        answer |= np.where(goes_right, np.int32(1 << bit), np.int32(0))
        kth = np.where(goes_right, kth - inside, kth)
        left = np.where(goes_right, zeros + left - from_left, from_left)
        right = np.where(goes_right, zeros + right - from_right, from_right)
        # Rows by flatnonzero: a boolean index mispredicts a branch per row on random bits, and takes 1.6 times as long.
        ranks = np.concatenate([ranks.take(np.flatnonzero(is_zero)), ranks.take(np.flatnonzero(~is_zero))])
    return answer
