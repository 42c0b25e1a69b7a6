"""How one matrix product is cut into tiles, so that its sums stay in vector registers.

TVM's default schedule adds up in memory, one value at a time. Here each tile of `rows` x `columns` outputs is summed
over the whole depth in registers, `columns` side by side in vectors, and what follows the product (bias, activation,
scale) is computed on the tile before it is stored: register blocking, as in Goto and van de Geijn, "Anatomy of
High-Performance Matrix Multiplication", 2008. Tiles that share columns follow each other: their weights stay near.
"""

from dataclasses import dataclass, replace
from typing import Any

from tvm.s_tir import Schedule

PARALLEL_WORK = 1 << 20
"""Multiplications under which handing a product to other threads costs more than it brings."""
_REGISTERS = 32  # vector sums of one tile at most; more would go through memory
_ROWS = 16
_VECTORS = (1, 2, 3, 4, 6, 8, 16, 32)


@dataclass(frozen=True)
class Product:
    """A matrix product (rows, depth) x (depth, columns)."""

    rows: int
    columns: int
    depth: int

    @property
    def work(self) -> int:
        """Multiplications."""
        return self.rows * self.columns * self.depth


@dataclass(frozen=True)
class Tile:
    """`rows` x `columns` outputs that are summed together; in parallel, threads share the tiles."""

    rows: int
    columns: int
    parallel: bool = False

    def __str__(self) -> str:
        return f"{self.rows}x{self.columns}" + " in parallel" * self.parallel


def find_product(function: Any) -> Product | None:
    """The product that a kernel computes; None if it computes none."""
    schedule = Schedule(function)
    block = _get_product_block(schedule)
    if block is None:
        return None
    loops = [int(schedule.get(loop).extent) for loop in schedule.get_loops(block)]
    return Product(rows=loops[-3], columns=loops[-2], depth=loops[-1]) if len(loops) == 3 else None


def list_tiles(product: Product, lanes: int, threads: int = 1) -> list[Tile]:
    """The tiles to try, the likeliest first: about 16 sums in registers, and rather more rows than one."""
    ways = [False] if threads == 1 else [product.work >= PARALLEL_WORK, product.work < PARALLEL_WORK]
    rows = [count for count in range(1, _ROWS + 1) if product.rows % count == 0]
    columns = [count * lanes for count in _VECTORS if product.columns % (count * lanes) == 0]
    tiles = [Tile(r, c) for r in rows for c in columns if r * c // lanes <= _REGISTERS]

    def rank_tile(tile: Tile) -> tuple[int, int]:
        return abs(tile.rows * tile.columns // lanes - 16), abs(tile.rows - 4)

    return [replace(tile, parallel=way) for way in ways for tile in sorted(tiles, key=rank_tile)]


def schedule_kernel(function: Any, tile: Tile, lanes: int) -> Any:
    """The kernel with its product cut into tiles; it computes the same sums, each in the order of the depth."""
    schedule = Schedule(function)
    product = _get_product_block(schedule)
    last = _fold_epilogue(schedule, product)
    if last is None:  # the product is stored as it is, or what follows has another shape
        last = schedule.cache_write(product, 0, "local")
    else:
        schedule.set_scope(product, 0, "local")
    row, column = schedule.get_loops(last)[-2:]
    row_tiles, row = schedule.split(row, [None, tile.rows])
    column_tiles, column = schedule.split(column, [None, tile.columns])
    schedule.reorder(column_tiles, row_tiles, row, column)
    tiles = schedule.fuse(column_tiles, row_tiles)
    if tile.parallel:
        schedule.parallel(tiles)
    schedule.compute_at(product, tiles, preserve_unit_loops=True)
    _vectorize(schedule, [row], column, lanes)
    row, column, depth = schedule.get_loops(product)[-3:]
    vectors, lane = schedule.split(column, [None, lanes])
    schedule.reorder(depth, row, vectors, lane)
    schedule.vectorize(lane)
    schedule.unroll(vectors)
    schedule.unroll(row)
    schedule.decompose_reduction(product, depth)
    return schedule.mod["main"].with_attr("tirx.is_scheduled", True)


def _vectorize(schedule: Any, unrolled: list[Any], column: Any, lanes: int) -> None:
    vectors, lane = schedule.split(column, [None, lanes])
    schedule.vectorize(lane)
    for loop in (vectors, *unrolled):
        schedule.unroll(loop)


def _get_product_block(schedule: Any) -> Any:
    blocks = schedule.get_child_blocks(schedule.get_sblock("root"))
    return next((block for block in blocks if schedule.get(block).name_hint.startswith("matmul")), None)


def _fold_epilogue(schedule: Any, product: Any) -> Any:
    """Put what is computed of each output into one block, and return it; None unless it is as large as the product."""
    name = schedule.get(product).name_hint
    blocks = schedule.get_child_blocks(schedule.get_sblock("root"))
    following = [block for block in blocks if schedule.get(block).name_hint != name]
    if not following:
        return None
    for block in following[:-1]:
        schedule.compute_inline(block)

    def get_shape(block: Any) -> list[int]:
        return [int(schedule.get(loop).extent) for loop in schedule.get_loops(block)][:2]

    last = following[-1]
    return last if get_shape(last) == get_shape(product) else None
