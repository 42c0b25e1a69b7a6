"""The two ways of computing windows agree with numpy, whatever the width, and keep to their memory."""

import tracemalloc
import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deepseek.clean import sorting_networks, window_medians
from deepseek.clean.window_medians import compute_medians_at


def column(size, share, seed=0, values=None):
    rng = np.random.default_rng(seed)
    data = rng.normal(size=size) if values is None else rng.choice(values, size=size)
    data[rng.random(size) < share] = np.nan
    return data


def by_numpy(values, rows, half):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        cut = [values[max(0, row - half) : row + half + 1] for row in rows]
        return np.array([np.median(window[~np.isnan(window)]) for window in cut])


@pytest.mark.parametrize("way", [window_medians._compute_by_sort, window_medians._compute_by_descent])
def test_both_ways_give_numpys_bytes(way):
    values = column(1000, 0.4)
    rows = np.flatnonzero(np.isnan(values))
    halves = [0, 1, 7, 250, 499, 500, 5000]
    ours = {half: way(values, rows, min(half, values.size)).tobytes() for half in halves}
    assert [half for half in halves if ours[half] != by_numpy(values, rows, half).tobytes()] == []


@given(st.integers(1, 300), st.integers(0, 320), st.floats(0.05, 1), st.integers(0, 99))
def test_descent_equals_sort_on_ties_and_infinities(size, half, share, seed):
    values = column(size, share, seed, [-np.inf, -1.0, -0.0, 0.0, 1.0, 2.0, 1e308, np.inf])
    rows = np.flatnonzero(np.isnan(values))
    half = min(half, size)
    assert (
        window_medians._compute_by_descent(values, rows, half).tobytes()
        == window_medians._compute_by_sort(values, rows, half).tobytes()
    )


def test_blocks_of_the_descent_join_without_a_seam(monkeypatch):
    values = column(5000, 0.3)
    rows = np.flatnonzero(np.isnan(values))
    monkeypatch.setattr(window_medians, "BLOCK_ROWS", 64)
    assert (
        window_medians._compute_by_descent(values, rows, 40).tobytes()
        == window_medians._compute_by_sort(values, rows, 40).tobytes()
    )


@pytest.mark.parametrize(("share", "half", "way"), [(0.01, 2, "_compute_by_sort"), (0.5, 5000, "_compute_by_descent")])
def test_the_cheaper_way_is_taken(monkeypatch, share, half, way):
    taken = []
    monkeypatch.setattr(window_medians, way, lambda values, rows, half: taken.append(way))
    values = column(20_000, share)
    window_medians.compute_medians_at(values, np.flatnonzero(np.isnan(values)), half)
    assert taken == [way]


def test_wide_windows_with_many_missing_stay_within_memory():
    values = column(200_000, 0.5)  # gathered at once, the windows would take 100,000 x 50,001 x 8 bytes = 40 GB
    rows = np.flatnonzero(np.isnan(values))
    tracemalloc.start()
    window_medians.compute_medians_at(values, rows, 25_000)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 32 * 2**20


def test_sorting_gathers_a_chunk_at_a_time():
    values = column(100_000, 0.5)
    rows = np.flatnonzero(np.isnan(values))
    tracemalloc.start()
    window_medians._compute_by_sort(values, rows, 50)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8 * window_medians.CHUNK_BYTES


@given(st.integers(1, 400), st.integers(1, 4), st.floats(0.02, 1), st.integers(0, 99), st.sampled_from(["f4", "f8"]))
def test_networks_give_numpys_bytes(size, half, share, seed, dtype):
    values = column(size, share, seed, [-np.inf, -1.0, -0.0, 0.0, 1.0, 2.0, 3e38, np.inf]).astype(dtype)
    rows = np.flatnonzero(np.isnan(values))
    assert compute_medians_at(values, rows, half, gaps=True).tobytes() == by_numpy(values, rows, half).tobytes()


@pytest.mark.parametrize("width", sorted(sorting_networks.NETWORKS))
def test_every_network_sorts_all_zeros_and_ones(width):
    """Then it sorts everything (Knuth, theorem Z of 5.3.4)."""
    cells = [list(map(int, f"{number:0{width}b}")) for number in range(2**width)]
    for row in cells:
        for low, high in sorting_networks.NETWORKS[width]:
            row[low], row[high] = min(row[low], row[high]), max(row[low], row[high])
        assert row == sorted(row)


def test_flat_true_is_flatnonzero():
    masks = {share: np.random.default_rng(5).random(5000) < share for share in (0, 0.001, 0.03, 0.0999, 0.2, 1)}
    wrong = [
        share
        for share, mask in masks.items()
        if not np.array_equal(sorting_networks.find_true(mask), np.flatnonzero(mask))
    ]
    assert wrong == []


@pytest.mark.parametrize("width", [5, 7, 51, 255])
def test_counts_of_windows(width):
    values = column(1000, 0.3)
    wanted = np.lib.stride_tricks.sliding_window_view(values == values, width).sum(axis=1)
    assert np.array_equal(window_medians._count_present(values, width), wanted)
