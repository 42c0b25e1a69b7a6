"""Figures with intervals, and the replicates that they come from.

The draws of the bootstrap depend on the rows and the seed alone, never on the model. Two models that were measured on
the same rows with the same seed have replicates of the same draws, so the difference of the two, replicate by
replicate, is the paired bootstrap of `deepseek.models.evaluate.difference`. Who keeps the replicates can compare any
two versions later without a row of data, and without arithmetic beyond a subtraction. `pairing` says which may be.
"""

import base64
import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from deepseek.evaluate.measures import Blocks, Draws, Floats, Measure
from deepseek.models.evaluate import interval_of, share
from deepseek.models.figures import Metric

REPLICATES_NAME = "replicates.json"
REPLICATES_TYPE = "application/vnd.plane.replicates+json"
SCHEMA = "plane/replicates/v1"
FEWEST_DEFINED = 0.9
"""A metric that is not defined for more of the replicates than the rest has no interval: what is left is no sample."""


@dataclass(frozen=True)
class Series:
    """A figure and its replicates (m,), NaN where it is not defined."""

    metric: Metric
    replicates: Floats


def series_of(measures: Sequence[Measure], draws: Draws, *, confidence: float, method: str, rows: int) -> list[Series]:
    """Each measure that the rows define: its value, its percentile interval and its replicates.

    The interval of accuracy is Wilson's, which holds at 0 and at 1 too, unless rows depend on each other.
    """
    once = np.ones((1, draws.shape[1]))
    made = []
    for one in measures:
        value = float(one.of(once)[0])
        if not math.isfinite(value):
            continue
        replicates = one.of(draws)
        if one.name == "accuracy":
            metric = share(one.name, round(value * rows), rows, confidence, one.better)
        else:
            low, high = _bounds(replicates, confidence)
            told = {"low": low, "high": high, "confidence": None if low is None else confidence}
            named = method if low is not None else ""
            metric = Metric(name=one.name, value=value, method=named, better=one.better, **told)
        made.append(Series(metric, replicates))
    return made


def _bounds(replicates: Floats, confidence: float) -> tuple[float, float] | tuple[None, None]:
    if np.isfinite(replicates).mean() < FEWEST_DEFINED:
        return None, None
    return interval_of(replicates, confidence)


def pairing_of(
    rows: Blocks, target: Any, names: Sequence[str], blocks: Blocks, seed: int, replicates: int, horizon: int = 1
) -> str:
    """SHA-256 of everything that decides which rows are drawn, what is right for each of them, and from how far it was
    foretold: who looks ahead less has an easier task. As without it where that is one row."""
    ahead = f" {horizon} ahead" if horizon > 1 else ""
    told = hashlib.sha256(f"{SCHEMA} {seed} {replicates} {'/'.join(names)}{ahead}".encode())
    for array in (rows, target, blocks):
        told.update(np.ascontiguousarray(array).tobytes())
    return told.hexdigest()


def told_of(series: Sequence[Series], part: tuple[str, str] | None) -> list[dict[str, Any]]:
    """The replicates as ``replicates.json`` has them: little-endian float64 in base64."""
    return [
        {
            "slice": list(part) if part else None,
            "metric": one.metric.name,
            "better": one.metric.better,
            "value": one.metric.value,
            "draws": base64.b64encode(np.asarray(one.replicates, "<f8").tobytes()).decode(),
        }
        for one in series
    ]
