"""Measurements of processors."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any


def read_cpu_times() -> list[int]:
    fields = Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]
    return [int(field) for field in fields]


def measure_steal(seconds: str) -> dict[str, Any]:
    """Share of CPU time that the hypervisor gave to others, over some seconds."""
    before = read_cpu_times()
    time.sleep(float(seconds))
    passed = [after - start for start, after in zip(before, read_cpu_times(), strict=True)]
    return {"steal_percent": 100 * passed[7] / max(1, sum(passed))}


def measure_matmul(size: str) -> dict[str, Any]:
    """GFLOP/s of a square float32 product, the best of ten, and its largest error against float64."""
    import torch

    n = int(size)
    generator = torch.Generator().manual_seed(7)
    left, right = torch.randn(n, n, generator=generator), torch.randn(n, n, generator=generator)
    best = float("inf")
    for _ in range(10):
        start = time.perf_counter()
        product = left @ right
        best = min(best, time.perf_counter() - start)
    error = (product.double() - left.double() @ right.double()).abs().max().item()
    return {"gflops": 2 * n**3 / best / 1e9, "threads": torch.get_num_threads(), "error": error}


PROBES = {"cpu_steal": measure_steal, "matmul": measure_matmul}
