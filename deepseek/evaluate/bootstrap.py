"""Figures with intervals, and the replicates that they come from.

The draws of the bootstrap depend on the rows and the seed alone, never on the model. Two models that were measured on
the same rows with the same seed have replicates of the same draws, so the difference of the two, replicate by
replicate, is the paired bootstrap of `deepseek.models.evaluate.measure_difference`. Who keeps the replicates can
compare any two versions later without a row of data, and without arithmetic beyond a subtraction. `pairing` says which
may be.
"""

import base64
import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from deepseek.evaluate.measures import Blocks, Draws, Floats, Measure
from deepseek.models.evaluate import build_share_metric, compute_interval
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


def build_series(
    measures: Sequence[Measure], draws: Draws, *, confidence: float, method: str, rows: int
) -> list[Series]:
    """Each measure that the rows define: its value, its percentile interval and its replicates.

    The interval of accuracy is Wilson's, which holds at 0 and at 1 too, unless rows depend on each other.
    """
    once = np.ones((1, draws.shape[1]))
    series = []
    for measure in measures:
        value = float(measure.of(once)[0])
        if not math.isfinite(value):
            continue
        replicates = measure.of(draws)
        if measure.name == "accuracy":
            metric = build_share_metric(measure.name, round(value * rows), rows, confidence, measure.better)
        else:
            low, high = _compute_bounds(replicates, confidence)
            bounds = {"low": low, "high": high, "confidence": None if low is None else confidence}
            interval_method = method if low is not None else ""
            metric = Metric(name=measure.name, value=value, method=interval_method, better=measure.better, **bounds)
        series.append(Series(metric, replicates))
    return series


def _compute_bounds(replicates: Floats, confidence: float) -> tuple[float, float] | tuple[None, None]:
    if np.isfinite(replicates).mean() < FEWEST_DEFINED:
        return None, None
    return compute_interval(replicates, confidence)


def compute_pairing(
    rows: Blocks, target: Any, names: Sequence[str], blocks: Blocks, seed: int, replicates: int, horizon: int = 1
) -> str:
    """SHA-256 of everything that decides which rows are drawn, what is right for each of them, and from how far it was
    foretold: who looks ahead less has an easier task. As without it where that is one row."""
    ahead = f" {horizon} ahead" if horizon > 1 else ""
    digest = hashlib.sha256(f"{SCHEMA} {seed} {replicates} {'/'.join(names)}{ahead}".encode())
    for array in (rows, target, blocks):
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def serialize_series(series: Sequence[Series], part: tuple[str, str] | None) -> list[dict[str, Any]]:
    """The replicates as ``replicates.json`` has them: little-endian float64 in base64."""
    return [
        {
            "slice": list(part) if part else None,
            "metric": figure.metric.name,
            "better": figure.metric.better,
            "value": figure.metric.value,
            "draws": base64.b64encode(np.asarray(figure.replicates, "<f8").tobytes()).decode(),
        }
        for figure in series
    ]
