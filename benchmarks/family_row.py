"""What the rows of families.py share: one comparison, a report that times it, and a call that trains."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deepseek.job import Silent
from deepseek.models.figures import FIGURES_NAME, Figures, Metric


@dataclass(frozen=True)
class Row:
    """One comparison; `difference` is ours less the baseline's, paired; `loading` is None where no metric says it."""

    model: str
    metric: Metric
    baseline: str
    baseline_value: float
    examples: int
    clock: Clock
    steps: int
    difference: Metric | None = None
    note: str = ""


class Clock(Silent):
    """A report that keeps the last value of each metric, and the seconds of the training: its last step ends it."""

    def __init__(self) -> None:
        self.metrics: dict[str, float] = {}
        self.begun, self.ended = 0.0, 0.0

    def metric(self, name: str, value: float, step: int = 0) -> None:
        self.metrics[name] = value

    def progress(self, done: float, total: float | None, unit: str, *, stage: str = "") -> None:
        if stage == "train":
            self.ended = time.perf_counter()

    def log(self, text: str, *, level: str = "info") -> None:
        if text.startswith("trains on"):
            self.begun = time.perf_counter()
        print(f"  {text}", file=sys.stderr, flush=True)

    @property
    def seconds(self) -> float:
        return self.ended - self.begun

    @property
    def loading(self) -> float | None:
        """The share of the steps' time that was spent waiting for data."""
        return self.metrics.get("system/data_loading_share")


def train(run: Callable[..., Any], spec: Any, inputs: dict[str, Path], folder: Path) -> tuple[Any, Figures, Clock]:
    """The result of a training, its figures, and its clock."""
    clock = Clock()
    result = run(spec, inputs=inputs, out=folder / "out", report=clock)
    return result, Figures.read(folder / "out" / FIGURES_NAME), clock


def get_metric(metrics: list[Metric], name: str) -> Metric:
    return next(metric for metric in metrics if metric.name == name)
