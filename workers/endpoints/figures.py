"""What a server's counts come to: requests a second and latency over the last minute."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

WINDOW_SECONDS = 60.0


class FigureWindow:
    """The counts of one server, as they were at each look of the last minute."""

    def __init__(self) -> None:
        self.samples: deque[tuple[float, int, list[int]]] = deque()

    def add(self, model: Mapping[str, Any]) -> dict[str, Any]:
        """The figures with these counts added; they begin anew with a server that has counted less."""
        now, seconds = time.monotonic(), model["seconds"]
        total, counts = int(model["answered"]), list(seconds["counts"])
        if self.samples and self.samples[-1][1] > total:
            self.samples.clear()
        self.samples.append((now, total, counts))
        while now - self.samples[0][0] > WINDOW_SECONDS and len(self.samples) > 2:
            self.samples.popleft()
        began, before, counts_before = self.samples[0]
        passed = [after - earlier for after, earlier in zip(counts, counts_before, strict=True)]
        p50, p95 = (estimate_quantile(seconds["bounds"], passed, share) for share in (0.5, 0.95))
        return {
            "requests": total,
            "refused": int(model["refused"]),
            "failed": int(model["failed"]),
            "rate": round((total - before) / (now - began), 2) if now > began else 0.0,
            "p50_ms": p50,
            "p95_ms": p95,
            "swaps": int(model["swaps"]),
            "shadow": model.get("shadow"),
        }


def estimate_quantile(bounds: Sequence[float], counts: Sequence[int], share: float) -> float | None:
    """Milliseconds below which a `share` of the counted requests lie, drawn straight through a bucket; None: none."""
    total = sum(counts)
    if not total:
        return None
    below, rank = 0, share * total
    for place, count in enumerate(counts):
        if below + count >= rank:
            low = bounds[place - 1] if place else 0.0
            high = bounds[place] if place < len(bounds) else bounds[-1]
            return round((low + (high - low) * (rank - below) / count) * 1000, 3)
        below += count
    return None
