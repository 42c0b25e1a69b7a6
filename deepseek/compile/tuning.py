"""Which tiles are fastest, found by trying some of them on this machine."""

import random
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import tvm
from tvm.s_tir.meta_schedule.arg_info import ArgInfo

from deepseek.compile.schedules import Schedule, ScheduleBook
from deepseek.compile.tiles import Product, Tile, find_product, list_tiles, schedule_kernel

_BETTER = 0.97  # a tile must be faster by 3 % than the likeliest: less than that is noise, and the rule is stable
_REPEATS = 5
_REPEAT_SECONDS = 0.003


@dataclass
class Kernel:
    """A product of the model: what it computes, its tiles in the order of trial, and what was measured.

    `guess`: what was best on another target, until something is measured on this one.
    """

    name: str
    function: Any
    product: Product
    tiles: list[Tile]
    seconds: dict[Tile, float] = field(default_factory=dict)
    guess: Tile | None = None

    @property
    def best(self) -> Tile:
        """The fastest tile that was tried; where none was, or where the fastest is hardly faster, the likeliest."""
        likeliest = self.tiles[0]
        if not self.seconds:
            return self.guess or likeliest
        fastest = min(self.seconds, key=self.seconds.__getitem__)
        if self.seconds[fastest] > _BETTER * self.seconds.get(likeliest, float("inf")):
            return likeliest
        return fastest


@dataclass(frozen=True)
class Budget:
    """What tuning may take: trials in all, those known already among them, and seconds of this attempt."""

    trials: int
    seconds: float


@dataclass(frozen=True)
class Tuned:
    """How many trials of the budget are done, and how many of these were known before."""

    done: int
    known: int


def list_kernels(module: Any, lanes: int, *, threads: int, seed: int, registers: int = 32) -> list[Kernel]:
    """The products of `module`, the largest first. Behind the likeliest, tiles stand in an order drawn by `seed`."""
    kernels = []
    for name, function in module.functions_items():
        product = find_product(function) if isinstance(function, tvm.tirx.PrimFunc) else None
        tiles = list_tiles(product, lanes, threads, registers) if product else []
        if product and tiles:
            kernels.append(Kernel(name.name_hint, function, product, tiles))
    kernels.sort(key=lambda kernel: (-kernel.product.work, kernel.name))
    for kernel in kernels:
        candidates = kernel.tiles[1:]
        random.Random(f"{seed}/{kernel.product.key}").shuffle(candidates)  # noqa: S311  a search, not a secret
        kernel.tiles[1:] = candidates
    return kernels


def apply_schedules(kernels: Sequence[Kernel], book: ScheduleBook, target: str) -> None:
    """Let the kernels have what the book knows: measured on `target`, or a guess from other targets."""
    for kernel in kernels:
        existing = book.find(kernel.product.key, target)
        kernel.seconds = {tile: existing[tile] for tile in kernel.tiles if tile in existing}
        fits = (tile for tile in book.rank_elsewhere(kernel.product.key, target) if tile in kernel.tiles)
        kernel.guess = next(fits, None)


def is_tuned(kernels: Sequence[Kernel]) -> bool:
    """Whether something was measured of each kernel on the very target."""
    return all(kernel.seconds for kernel in kernels)


def list_trials(kernels: Sequence[Kernel], trials: int) -> list[tuple[Kernel, Tile]]:
    """What `trials` trials are: one tile of each workload in turns. Kernels of one workload are tried once."""
    first = list({kernel.product.key: kernel for kernel in reversed(kernels)}.values())[::-1]

    def take_turns() -> Iterator[tuple[Kernel, Tile]]:
        for turn in range(max((len(kernel.tiles) for kernel in first), default=0)):
            yield from ((kernel, kernel.tiles[turn]) for kernel in first if turn < len(kernel.tiles))

    return [trial for trial, _ in zip(take_turns(), range(trials), strict=False)]


def tune(
    kernels: Sequence[Kernel],
    target: Any,
    lanes: int,
    *,
    budget: Budget,
    book: ScheduleBook,
    target_name: str,
    keep: Callable[[int], object],
    advance: Callable[[int, Kernel, Tile], object],
) -> Tuned:
    """Try tiles within the budget, one kernel after the other in turns; what the book knows is not measured again.

    Everything runs in this process, one trial at a time. After each, `keep` hears the number of trials that are done,
    with its schedule in the book, and `advance` the number, the kernel and the tile.
    """
    apply_schedules(kernels, book, target_name)
    trials = list_trials(kernels, budget.trials)
    missing = [(kernel, tile) for kernel, tile in trials if tile not in kernel.seconds]
    existing = done = len(trials) - len(missing)
    end = time.monotonic() + budget.seconds
    for kernel, tile in missing:
        if time.monotonic() > end:
            break
        seconds = measure(schedule_kernel(kernel.function, tile, lanes), target)
        book.add(_record(kernel, tile, seconds, target_name, book.version))
        for same in kernels:
            if same.product.key == kernel.product.key:
                same.seconds[tile] = seconds
        done += 1
        keep(done)
        advance(done, kernel, tile)
    return Tuned(done, existing)


def _record(kernel: Kernel, tile: Tile, seconds: float, target: str, version: str) -> Schedule:
    return Schedule(
        schema="plane/schedule/v1",
        workload=kernel.product.key,
        rows=tile.rows,
        columns=tile.columns,
        parallel=tile.parallel,
        by_lines=tile.by_lines,
        seconds=seconds,
        target=target,
        tvm=version,
    )


def measure(function: Any, target: Any) -> float:
    """Seconds of one call of a scheduled kernel on random values: the shortest of five, for noise only adds."""
    built = tvm.compile(tvm.IRModule({"main": function.with_attr("global_symbol", "main")}), target=target)
    random_values = np.random.default_rng(0)
    tensors = []
    for argument in ArgInfo.from_prim_func(function):
        shape = [int(size) for size in argument.shape]
        values = (random_values.random(shape) < 0.5).astype(argument.dtype)
        if argument.dtype == "float32":
            values = random_values.standard_normal(shape, dtype=np.float32)
        tensors.append(tvm.runtime.tensor(values, tvm.cpu()))
    call = built["main"]
    start = time.perf_counter()
    call(*tensors)
    once = max(time.perf_counter() - start, 1e-7)
    number = max(1, int(_REPEAT_SECONDS / once))
    times = []
    for _ in range(_REPEATS if once < 0.5 else 1):
        start = time.perf_counter()
        for _ in range(number):
            call(*tensors)
        times.append((time.perf_counter() - start) / number)
    return min(times)
