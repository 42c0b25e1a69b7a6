"""How one product is cut into tiles, so that its sums stay in vector registers.

TVM's default schedule adds up in memory, one value at a time. Here each tile of `rows` x `columns` outputs is summed
over the whole depth in registers, `columns` side by side in vectors, and what follows the product (bias, activation,
scale) is computed on the tile before it is stored: register blocking, as in Goto and van de Geijn, "Anatomy of
High-Performance Matrix Multiplication", 2008. Tiles that share columns follow each other: their weights stay near.
A convolution whose channels are last is such a product too: its rows are the pixels of a line.
"""

import math
from dataclasses import dataclass, replace
from typing import Any

from tvm.s_tir import Schedule
from tvm.tirx import IterVar

from deepseek.compile.products import BLOCK, NAME, choose_vector

PARALLEL_WORK = 1 << 20
"""Multiplications under which handing a product to other threads costs more than it brings."""
BLOCKS = (BLOCK, "matmul")
"""How the blocks that are cut begin: our own, and TVM's where both sides of a product are computed."""
_ROWS = 16
_VECTORS = (1, 2, 3, 4, 6, 8, 16, 32)


@dataclass(frozen=True)
class Product:
    """Sums over `depth` of (..., rows, columns) outputs. `outer`: what there is before the rows; `name`: of what."""

    rows: int
    columns: int
    depth: int
    outer: tuple[int, ...] = ()
    name: str = "matmul"

    @property
    def work(self) -> int:
        """Multiplications."""
        return math.prod(self.outer) * self.rows * self.columns * self.depth

    @property
    def key(self) -> str:
        """What its schedules are kept under: equal keys are the same loops, on whatever processor."""
        return f"{self.name} {'x'.join(map(str, (*self.outer, self.rows, self.columns)))} of {self.depth}"


@dataclass(frozen=True)
class Tile:
    """`rows` x `columns` outputs that are summed together; in parallel, threads share the tiles.

    By lines, what there is before the rows is walked through before the next columns.
    """

    rows: int
    columns: int
    parallel: bool = False
    by_lines: bool = False

    def __str__(self) -> str:
        return f"{self.rows}x{self.columns}" + " by lines" * self.by_lines + " in parallel" * self.parallel


def find_product(function: Any) -> Product | None:
    """The product that a kernel computes; None if it computes none, or one that no tile fits."""
    schedule = Schedule(function)
    matches = _get_product_block(schedule)
    if matches is None:
        return None
    block = schedule.get(matches)
    kinds = [iterator.iter_type for iterator in block.iter_vars]
    sizes = [int(schedule.get(loop).extent) for loop in schedule.get_loops(matches)]
    outputs = kinds.count(IterVar.DataPar)
    if len(kinds) != len(sizes) or outputs < 2 or kinds != sorted(kinds):  # sorted: first outputs, then the depth
        return None
    rows, columns = sizes[outputs - 2 : outputs]
    name = str(block.annotations.get(NAME, "matmul"))
    return Product(rows, columns, math.prod(sizes[outputs:]), tuple(sizes[: outputs - 2]), name)


def list_tiles(product: Product, lanes: int, threads: int = 1, registers: int = 32) -> list[Tile]:
    """The tiles to try, the likeliest first: as many sums as the `registers` hold, and rather more rows than one."""
    sums = registers - 2  # one holds weights, one a value that they are multiplied with
    vector = choose_vector(product.columns, lanes)
    ways = [False] if threads == 1 else [product.work >= PARALLEL_WORK, product.work < PARALLEL_WORK]
    rows = [count for count in range(1, _ROWS + 1) if product.rows % count == 0]
    columns = [count * vector for count in _VECTORS if product.columns % (count * vector) == 0]
    tiles = [Tile(r, c) for r in rows for c in columns if r * c // vector <= sums]

    def rank_tile(tile: Tile) -> tuple[int, int]:
        return -(tile.rows * tile.columns // vector), abs(tile.rows - 7)

    tiles.sort(key=rank_tile)
    if math.prod(product.outer) > 1:
        tiles += [replace(tile, by_lines=True) for tile in tiles if tile.columns < product.columns]
    return [replace(tile, parallel=way) for way in ways for tile in tiles]


def count_registers(arch: str, lanes: int) -> int:
    """Vector registers of a processor."""
    return 16 if arch == "x86_64" and lanes < 16 else 32


def schedule_kernel(function: Any, tile: Tile, lanes: int) -> Any:
    """The kernel with its product cut into tiles; it computes the same sums, each in the order of the depth."""
    schedule = Schedule(function)
    product = _get_product_block(schedule)
    vector = choose_vector(_get_shape(schedule, product)[-1], lanes)
    for block in schedule.get_producers(product):
        _schedule_producer(schedule, block, vector, parallel=tile.parallel)
    last = _fold_epilogue(schedule, product)
    if last is None:  # the product is stored as it is, or what follows has another shape
        last = schedule.cache_write(product, 0, "local")
    else:
        schedule.set_scope(product, 0, "local")
    *outer, row, column = schedule.get_loops(last)
    row_tiles, row = schedule.split(row, [None, tile.rows])
    column_tiles, column = schedule.split(column, [None, tile.columns])
    order = [*outer, column_tiles, row_tiles] if tile.by_lines else [column_tiles, *outer, row_tiles]
    schedule.reorder(*order, row, column)
    tiles = schedule.fuse(*order)
    if tile.parallel:
        schedule.parallel(tiles)
    schedule.compute_at(product, tiles, preserve_unit_loops=True)
    _vectorize(schedule, [row], column, vector)
    count = len(schedule.get(product).iter_vars)
    loops = schedule.get_loops(product)[-count:]
    spatial = [iterator.iter_type for iterator in schedule.get(product).iter_vars].count(IterVar.DataPar)
    row, column = loops[spatial - 2 : spatial]
    vectors, lane = schedule.split(column, [None, vector])
    schedule.reorder(*loops[spatial:], row, vectors, lane)
    schedule.vectorize(lane)
    schedule.unroll(vectors)
    schedule.unroll(row)
    schedule.decompose_reduction(product, loops[spatial])
    return schedule.mod["main"].with_attr("tirx.is_scheduled", True)


def _schedule_producer(schedule: Any, block: Any, vector: int, *, parallel: bool) -> None:
    """What is made before the product, such as images with zeros around them: in vectors, where they fit."""
    *outer, last = schedule.get_loops(block)
    if int(schedule.get(last).extent) % vector == 0:
        schedule.vectorize(schedule.split(last, [None, vector])[1])
    if parallel and outer:
        schedule.parallel(schedule.fuse(*outer))


def _vectorize(schedule: Any, unrolled: list[Any], column: Any, lanes: int) -> None:
    vectors, lane = schedule.split(column, [None, lanes])
    schedule.vectorize(lane)
    for loop in (vectors, *unrolled):
        schedule.unroll(loop)


def _get_product_block(schedule: Any) -> Any:
    blocks = schedule.get_child_blocks(schedule.get_sblock("root"))
    return next((block for block in blocks if schedule.get(block).name_hint.startswith(BLOCKS)), None)


def _fold_epilogue(schedule: Any, product: Any) -> Any:
    """Put what is computed of each output into one block, and return it; None unless it is as large as the product."""
    following = _list_following(schedule, product)
    if not following:
        return None
    for block in following[:-1]:
        schedule.compute_inline(block)
    last = following[-1]
    return last if _get_shape(schedule, last) == _get_shape(schedule, product) else None


def _get_shape(schedule: Any, block: Any) -> list[int]:
    """Of the outputs of a block whose loops are as they were made."""
    outputs = [iterator.iter_type for iterator in schedule.get(block).iter_vars].count(IterVar.DataPar)
    return [int(schedule.get(loop).extent) for loop in schedule.get_loops(block)[:outputs]]


def _list_following(schedule: Any, product: Any) -> list[Any]:
    blocks = schedule.get_child_blocks(schedule.get_sblock("root"))
    names = [schedule.get(block).name_hint for block in blocks]
    return list(blocks[names.index(schedule.get(product).name_hint) + 1 :])
