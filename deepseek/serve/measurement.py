"""Measures a model that was just loaded: how long one row takes, and whether it gains from batches.

The first calls also compile what TorchScript compiles late: the first caller need not wait for that.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

Predict = Callable[[Any], Any]
CALLS = 5
BATCH = 16
SLOW_SECONDS = 0.05
"""A model that takes longer for one row is measured on four: its start should not take seconds."""
TOLERANCE = 1e-4
"""Largest difference, relative to the largest output, between a row alone and the same row among others."""


@dataclass(frozen=True)
class Measured:
    """Seconds of one row, seconds that a row saves in a batch, and whether a row's outputs depend on its batch."""

    one: float
    saved: float
    batch_dependent: bool


def measure_calls(predict: Predict, rows: Any) -> float:
    """Seconds of the quickest of a few calls."""
    durations = []
    for _ in range(CALLS):
        start = time.perf_counter()
        predict(rows)
        durations.append(time.perf_counter() - start)
    return min(durations)


def measure_batches(predict: Predict, rows: Any) -> Measured:
    """What batches of `rows`, some real examples, do to the model."""
    single = measure_calls(predict, rows[:1])
    count = BATCH if single < SLOW_SECONDS else 4
    batch = np.resize(rows, (count, *rows.shape[1:])).astype(np.float32)
    together = measure_calls(predict, batch) / count
    return Measured(single, single - together, is_batch_dependent(predict, batch))


def is_batch_dependent(predict: Predict, batch: Any) -> bool:
    """Whether the outputs of a row change with the rows beside it, as where a scale is taken from the whole batch."""
    half = max(1, len(batch) // 2)
    rows = batch.copy()
    rows[half:] *= 100  # a scale that the first rows would notice
    alone = np.concatenate([predict(rows[place : place + 1]) for place in range(half)])
    together = predict(rows)[:half]
    gap = float(np.abs(alone - together).max(initial=0))
    return not gap <= TOLERANCE * max(float(np.abs(alone).max(initial=0)), 1e-6)
