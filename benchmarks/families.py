"""Each family of models against a stated baseline on real data, with what its steps cost.

Run: python benchmarks/families.py [ROW ...]      (default: every row)

| row | data | model, from fresh weights | baseline, on the same held-out examples |
|---|---|---|---|
| image | 1,797 digits of scikit-learn, at 224 x 224 | MobileNetV3 small | HistGradientBoosting on 8 x 8 pixels |

A model is trained by the engine as a job would be, early stopping included. The baseline learns from the training and
the validation examples. `steps/s` is of the whole training, validation included; `loading` is the share of the steps'
time that was spent waiting for data.
"""

import argparse
import csv
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np

from deepseek.job import Silent

SEED = 0


@dataclass(frozen=True)
class Row:
    """One comparison; `loading` is None where no metric says it."""

    model: str
    metric: str
    value: float
    low: float | None
    high: float | None
    baseline: str
    baseline_value: float
    steps: int
    seconds: float
    loading: float | None
    notes: list[str] = field(default_factory=list)


class Clock(Silent):
    """A report that keeps the last value of each metric, and the seconds from the first step to the measuring."""

    def __init__(self) -> None:
        self.metrics: dict[str, float] = {}
        self.begun, self.ended = 0.0, 0.0

    def metric(self, name: str, value: float, step: int = 0) -> None:
        self.metrics[name] = value

    def progress(self, done: float, total: float | None, unit: str, *, stage: str = "") -> None:
        if stage == "measure" and not self.ended:
            self.ended = time.perf_counter()

    def log(self, text: str, *, level: str = "info") -> None:
        if text.startswith("trains on"):
            self.begun = time.perf_counter()
        print(f"  {text}", file=sys.stderr, flush=True)

    @property
    def seconds(self) -> float:
        return self.ended - self.begun


def train(run: Callable[..., Any], spec: Any, inputs: dict[str, Path], folder: Path) -> tuple[Any, Any, Clock]:
    """The result of a training, its figures, and its clock."""
    from deepseek.models.figures import FIGURES_NAME, Figures

    clock = Clock()
    result = run(spec, inputs=inputs, out=folder / "out", report=clock)
    return result, Figures.read(folder / "out" / FIGURES_NAME), clock


def measure_image(folder: Path, options: argparse.Namespace) -> Row:
    """Digits as pictures of 224 x 224, in parts that are drawn by class."""
    from PIL import Image
    from sklearn.datasets import load_digits
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.model_selection import train_test_split

    from deepseek.images.run import run
    from deepseek.images.spec import ImageSpec

    digits = load_digits()
    rows = np.arange(len(digits.target))
    rest, test = train_test_split(rows, test_size=0.2, random_state=SEED, stratify=digits.target)
    learned, validation = train_test_split(rest, test_size=0.15, random_state=SEED, stratify=digits.target[rest])
    splits = dict.fromkeys(learned, "train") | dict.fromkeys(validation, "val") | dict.fromkeys(test, "test")
    images = folder / "images"
    images.mkdir()
    with (images / "manifest.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "label", "split"])
        for row in rows:
            picture = Image.fromarray((digits.images[row] * 255 / 16).astype(np.uint8))
            picture.resize((224, 224), Image.Resampling.BICUBIC).save(images / f"{row:04}.png")
            writer.writerow([f"{row:04}.png", digits.target[row], splits[row]])
    schedule = {"warmup_steps": 60, "max_lr": 0.002, "first_batch": 32, "last_batch": 64}
    spec = ImageSpec(
        backbone=options.backbone,
        augmentation=["crop"],
        epochs=options.epochs,
        patience=0,
        threads=options.threads,
        schedule=schedule,
        seed=SEED,
    )
    result, figures, clock = train(run, spec, {"images": images}, folder)
    simple = HistGradientBoostingClassifier(random_state=SEED).fit(digits.data[rest], digits.target[rest])
    accuracy = next(metric for metric in figures.metrics if metric.name == "accuracy")
    return Row(
        model=f"{options.backbone}, {options.epochs} epochs",
        metric="accuracy",
        value=accuracy.value,
        low=accuracy.low,
        high=accuracy.high,
        baseline="HistGradientBoosting on 8 x 8 pixels",
        baseline_value=float(simple.score(digits.data[test], digits.target[test])),
        steps=result.summary["steps"],
        seconds=clock.seconds,
        loading=clock.metrics.get("system/data_loading_share"),
    )


ROWS: dict[str, Callable[[Path, argparse.Namespace], Row]] = {"image": measure_image}


def format_row(name: str, row: Row) -> str:
    interval = "" if row.low is None else f" ({row.low:.4f} to {row.high:.4f})"
    loading = "" if row.loading is None else f"{row.loading:.2%}"
    rate = f"{row.steps / row.seconds:.2f}"
    ours, other = f"{row.value:.4f}{interval}", f"{row.baseline_value:.4f} ({row.baseline})"
    return f"| {name} | {row.model} | {row.metric} | {ours} | {other} | {row.steps} | {rate} | {loading} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rows", nargs="*", choices=[*ROWS, []], metavar="ROW")
    parser.add_argument("--backbone", default="mobilenet_v3_small", help="of the row image")
    parser.add_argument("--epochs", type=int, default=8, help="of the row image")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    print("| row | model | metric | ours | baseline | steps | steps/s | loading |\n|---|---|---|---|---|---|---|---|")
    for name in options.rows or ROWS:
        with tempfile.TemporaryDirectory() as folder:
            row = ROWS[name](Path(folder), options)
        print(format_row(name, row), flush=True)
        for note in row.notes:
            print(f"\n{note}")


if __name__ == "__main__":
    main()
