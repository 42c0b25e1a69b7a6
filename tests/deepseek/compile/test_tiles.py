"""Which tiles are tried, in which order, and which is taken."""

from itertools import product

import pytest

from deepseek.compile.tiles import PARALLEL_WORK, Product, Tile, list_tiles
from deepseek.compile.tuning import Kernel, tune

LANES = 16


def test_tiles_divide_the_product_and_fit_the_registers():
    wrong = []
    for rows, columns, lanes in product([1, 7, 32, 4096], [16, 48, 64, 1024], [4, 8, 16]):
        tiles = list_tiles(Product(rows, columns, 10), lanes)
        fits = [
            rows % tile.rows == columns % tile.columns == tile.columns % lanes == 0
            and tile.rows * tile.columns <= 32 * lanes
            for tile in tiles
        ]
        if not tiles or len(set(tiles)) != len(tiles) or not all(fits):
            wrong.append((rows, columns, lanes, tiles))
    assert wrong == []


@pytest.mark.parametrize(("rows", "columns", "first"), [(1, 1024, Tile(1, 256)), (32, 64, Tile(4, 64))])
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


def test_trials_go_round_and_end(monkeypatch):
    monkeypatch.setattr("deepseek.compile.tuning.schedule_kernel", lambda *_: None)
    monkeypatch.setattr("deepseek.compile.tuning.measure", lambda *_: 1.0)
    kernels, heard = [kernel("a", ONE, TWO, THREE), kernel("b", ONE)], []
    assert tune(kernels, None, LANES, trials=3, advance=heard.append) == 3
    assert [list(k.seconds) for k in kernels] == [[ONE, TWO], [ONE]]
    assert heard == [1, 2, 3]
    assert tune(kernels, None, LANES, trials=100, advance=heard.append) == 4


def test_tuning_has_an_end(monkeypatch):
    monkeypatch.setattr("deepseek.compile.tuning.SECONDS", -1)
    assert tune([kernel("a", ONE)], None, LANES, trials=5, advance=print) == 0
