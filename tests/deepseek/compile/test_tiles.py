"""Which tiles are tried, in which order, and which is taken."""

from itertools import product

import pytest

from deepseek.compile.schedules import ScheduleBook
from deepseek.compile.tiles import PARALLEL_WORK, Product, Tile, list_tiles
from deepseek.compile.tuning import Budget, Kernel, Tuned, apply_schedules, is_tuned, tune

LANES = 16


def test_tiles_divide_the_product_and_fit_the_registers():
    wrong = []
    for rows, columns, lanes in product([1, 7, 32, 4096], [16, 48, 64, 1024], [4, 8, 16]):
        tiles = list_tiles(Product(rows, columns, 10), lanes)
        fits = [
            rows % tile.rows == columns % tile.columns == tile.columns % lanes == 0
            and tile.rows * tile.columns <= 30 * lanes
            for tile in tiles
        ]
        if not tiles or len(set(tiles)) != len(tiles) or not all(fits):
            wrong.append((rows, columns, lanes, tiles))
    assert wrong == []


@pytest.mark.parametrize(("rows", "columns", "first"), [(1, 1024, Tile(1, 256)), (32, 64, Tile(8, 32))])
def test_the_likeliest_is_first(rows, columns, first):
    assert list_tiles(Product(rows, columns, 10), LANES)[0] == first


def test_threads_share_what_is_worth_it():
    small, large = Product(1, 64, 64), Product(32, 1024, 1024)
    assert small.work < PARALLEL_WORK < large.work
    assert not any(tile.parallel for tile in list_tiles(large, LANES, threads=1))
    assert [list_tiles(product, LANES, threads=2)[0].parallel for product in (small, large)] == [False, True]
    assert {tile.parallel for tile in list_tiles(large, LANES, threads=2)} == {False, True}


def kernel(name, *tiles):
    return Kernel(name, None, Product(1, 64, 64), list(tiles))


ONE, TWO, THREE = Tile(1, 16), Tile(1, 32), Tile(1, 64)


@pytest.mark.parametrize(
    ("seconds", "best"),
    [
        ({}, ONE),
        ({ONE: 1.0, TWO: 0.5}, TWO),
        ({ONE: 1.0, TWO: 0.98}, ONE),  # that much is noise
        ({ONE: 1.0, TWO: 2.0, THREE: 0.9}, THREE),
    ],
)
def test_which_tile_is_taken(seconds, best):
    made = kernel("k", ONE, TWO, THREE)
    made.seconds = seconds
    assert made.best == best


@pytest.fixture
def measured(monkeypatch):
    """Nothing is compiled; each trial takes half the time of the one before it."""
    seconds = (2.0**-number for number in range(100))
    monkeypatch.setattr("deepseek.compile.tuning.schedule_kernel", lambda *_: None)
    monkeypatch.setattr("deepseek.compile.tuning.measure", lambda *_: next(seconds))


def run_trials(kernels, trials, seconds=100.0, book=None):
    kept = []
    book = book or ScheduleBook("1.0")
    tuned = tune(
        kernels,
        None,
        LANES,
        budget=Budget(trials, seconds),
        book=book,
        target_name="here",
        keep=kept.append,
        advance=lambda *_: None,
    )
    return tuned, kept, book


def test_trials_go_round_and_end(measured):
    kernels = [kernel("a", ONE, TWO, THREE), kernel("b", ONE)]
    kernels[1].product = Product(1, 16, 16)
    assert run_trials(kernels, 3)[:2] == (Tuned(3, 0), [1, 2, 3])
    assert [list(k.seconds) for k in kernels] == [[ONE, TWO], [ONE]]
    assert run_trials(kernels, 100)[0] == Tuned(4, 0)


def test_kernels_of_one_workload_are_tried_once(measured):
    kernels = [kernel("a", ONE, TWO), kernel("b", ONE, TWO)]
    assert run_trials(kernels, 10)[0] == Tuned(2, 0)
    assert kernels[0].best == kernels[1].best == TWO


def test_what_is_known_is_not_measured_again(measured):
    book = run_trials([kernel("a", ONE, TWO, THREE)], 2)[2]
    kernels = [kernel("a", ONE, TWO, THREE)]
    tuned, kept, _ = run_trials(kernels, 3, book=book)
    assert (tuned, kept) == (Tuned(3, 2), [3])
    assert is_tuned(kernels)
    assert kernels[0].best == THREE


def test_schedules_of_another_target_are_a_guess(measured):
    book = run_trials([kernel("a", ONE, TWO)], 2)[2]
    kernels = [kernel("a", ONE, TWO)]
    apply_schedules(kernels, book, "elsewhere")
    assert not is_tuned(kernels)
    assert kernels[0].best == TWO


def test_tuning_has_an_end():
    assert run_trials([kernel("a", ONE)], 5, seconds=-1)[0] == Tuned(0, 0)
