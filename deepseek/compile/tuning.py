"""Which tiles are fastest, found by trying some of them on this machine."""

import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import tvm
from tvm.s_tir.meta_schedule.arg_info import ArgInfo

from deepseek.compile.tiles import Product, Tile, find_product, list_tiles, schedule_kernel

SECONDS = 300.0
"""Tuning takes no longer than this, whatever number of trials is asked for."""
_BETTER = 0.97  # a tile must be faster by 3 % than the likeliest: less than that is noise, and the rule is stable
_REPEATS = 5
_REPEAT_SECONDS = 0.003


@dataclass
class Kernel:
    """A product of the model: what it computes, its tiles in the order of trial, and what was measured."""

    name: str
    function: Any
    product: Product
    tiles: list[Tile]
    seconds: dict[Tile, float] = field(default_factory=dict)

    @property
    def best(self) -> Tile:
        """The fastest tile that was tried; the likeliest where none was, or where the fastest is hardly faster."""
        if not self.seconds:
            return self.tiles[0]
        fastest = min(self.seconds, key=self.seconds.__getitem__)
        likeliest = self.tiles[0]
        if self.seconds[fastest] > _BETTER * self.seconds.get(likeliest, float("inf")):
            return likeliest
        return fastest


def list_kernels(module: Any, lanes: int, *, threads: int, seed: int) -> list[Kernel]:
    """The products of `module`, the largest first. Behind the likeliest, tiles stand in an order drawn by `seed`."""
    kernels = []
    for name, function in module.functions.items():
        product = find_product(function) if isinstance(function, tvm.tirx.PrimFunc) else None
        tiles = list_tiles(product, lanes, threads) if product else []
        if product and tiles:
            kernels.append(Kernel(name.name_hint, function, product, tiles))
    kernels.sort(key=lambda kernel: (-kernel.product.work, kernel.name))
    for place, kernel in enumerate(kernels):
        candidates = kernel.tiles[1:]
        random.Random(f"{seed}/{place}").shuffle(candidates)  # noqa: S311  a search, not a secret
        kernel.tiles[1:] = candidates
    return kernels


def tune(kernels: list[Kernel], target: Any, lanes: int, *, trials: int, advance: Callable[[int], object]) -> int:
    """Try up to `trials` tiles, one kernel after the other in turns; returns how many were tried.

    Everything runs in this process, one trial at a time. `advance` hears the number after each.
    """
    end, done = time.monotonic() + SECONDS, 0
    for turn in range(max((len(kernel.tiles) for kernel in kernels), default=0)):
        for kernel in kernels:
            if turn >= len(kernel.tiles):
                continue
            if done == trials or time.monotonic() > end:
                return done
            tile = kernel.tiles[turn]
            kernel.seconds[tile] = measure(schedule_kernel(kernel.function, tile, lanes), target)
            done += 1
            advance(done)
    return done


def measure(function: Any, target: Any) -> float:
    """Seconds of one call of a scheduled kernel on random values: the shortest of five, for noise only adds."""
    built = tvm.compile(tvm.IRModule({"main": function.with_attr("global_symbol", "main")}), target=target)
    random_values = np.random.default_rng(0)
    tensors = []
    for argument in ArgInfo.from_prim_func(function):
        values = random_values.standard_normal([int(size) for size in argument.shape], dtype=np.float32)
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
