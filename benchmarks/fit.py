"""The memory of a training, predicted before it begins, against its measured peak.

Run: python benchmarks/fit.py [MODEL ...]      (default: every model; prints a table for RESULTS.md)

Each model is trained by the command line in a process of its own, on a processor, with one thread, on data that is made
for it; the peak is the largest resident set that the kernel saw of that process. The prediction is what `deepseek fit`
prints, from the spec and what a plane knows of the data: rows, columns, bytes. Aim: within 20 % for every model.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from deepseek.cli import COMMANDS
from deepseek.fit.command import read_facts
from deepseek.fit.families import estimate_memory

AIM = 0.2
TABLE = {"task": "regression", "target": "y", "epochs": 1}


@dataclass(frozen=True)
class Model:
    """One training: what is told of it, and what makes its data in a folder."""

    words: str
    spec: dict[str, Any]
    make: Callable[[Path], Path]
    command: str = "train"


def make_table(rows: int, columns: int) -> Callable[[Path], Path]:
    """A table of so many numbers in Parquet."""

    def make(folder: Path) -> Path:
        draw, path = np.random.default_rng(0), folder / "table.parquet"
        names = [f"x{number}" for number in range(columns - 1)]
        pq.write_table(pa.table({name: draw.normal(size=rows) for name in [*names, "y"]}), path)
        return path

    return make


def batches(size: int, **more: Any) -> dict[str, Any]:
    """A spec on a table whose every batch has `size` rows."""
    return {**TABLE, "schedule": {"first_batch": size, "last_batch": size}, **more}


MODELS = {
    "mlp-default": Model("2,000 rows of 10, hidden 64, 64", dict(TABLE), make_table(2_000, 10)),
    "mlp-rows": Model("3,000,000 rows of 10, batch 8,192", batches(8192), make_table(3_000_000, 10)),
    "mlp-columns": Model("100,000 rows of 200, batch 8,192", batches(8192), make_table(100_000, 200)),
    "mlp-wide": Model("2,000 rows of 10, hidden 3 x 4,096", batches(256, hidden=[4096] * 3), make_table(2_000, 10)),
    "mlp-checkpoint": Model(
        "the same, with a checkpoint",
        batches(256, hidden=[4096] * 3, checkpoint_every=3),
        make_table(2_000, 10),
    ),
    "mlp-batch": Model(
        "20,000 rows of 10, hidden 4 x 1,024, the whole as one batch, tanh",
        batches(16_384, hidden=[1024] * 4),
        make_table(20_000, 10),
    ),
    "mlp-dropout": Model(
        "the same, relu and dropout",
        batches(16_384, hidden=[1024] * 4, activation="relu", dropout=0.1),
        make_table(20_000, 10),
    ),
    "mlp-gelu-micro": Model(
        "the same, gelu, micro-batch 4,096",
        batches(16_384, hidden=[1024] * 4, activation="gelu", micro_batch=4096),
        make_table(20_000, 10),
    ),
    "mlp-bf16": Model(
        "the same, tanh and bf16", batches(16_384, hidden=[1024] * 4, precision="bf16"), make_table(20_000, 10)
    ),
    "mlp-forecast": Model(
        "500,000 values, 256 lags, hidden 512, 512, batch 16,384",
        {**batches(16_384, hidden=[512, 512]), "task": "forecast", "lags": 256},
        make_table(500_000, 2),
    ),
}


def measure(model: Model, folder: Path) -> tuple[int, int]:
    """(predicted, measured) bytes."""
    data = model.make(folder)
    command = COMMANDS[model.command]
    module, _, name = command.spec.partition(":")
    spec = getattr(import_module(module), name)(**model.spec)
    estimate = estimate_memory(model.command.replace("-", "_"), spec, read_facts(data))
    assert estimate is not None
    path = folder / "spec.json"
    path.write_text(json.dumps(model.spec))
    words = [sys.executable, "-m", "deepseek.cli", model.command, data, "-o", folder / "model", "--spec", path]
    root = str(Path(__file__).resolve().parents[1])
    with (folder / "log").open("wb") as log:
        child = subprocess.Popen(words, stdout=log, stderr=log, env={**os.environ, "PYTHONPATH": root})
        _pid, status, usage = os.wait4(child.pid, 0)
    if status:
        raise SystemExit((folder / "log").read_text()[-2000:])
    return estimate.host.total, usage.ru_maxrss * 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", choices=[*MODELS, []], metavar="MODEL", help=", ".join(MODELS))
    chosen = parser.parse_args().models or list(MODELS)
    print("| model | what it is | predicted, MB | measured peak, MB | ratio |\n|---|---|---|---|---|")
    missed = []
    for name in chosen:
        with tempfile.TemporaryDirectory() as folder:
            predicted, measured = measure(MODELS[name], Path(folder))
        ratio = predicted / measured
        missed += [name] if abs(ratio - 1) > AIM else []
        print(
            f"| {name} | {MODELS[name].words} | {predicted / 1e6:,.0f} | {measured / 1e6:,.0f} | {ratio:.2f} |",
            flush=True,
        )
    print(
        f"\n{len(chosen) - len(missed)} of {len(chosen)} within {AIM:.0%}"
        + f"; not: {', '.join(missed)}" * bool(missed)
    )


if __name__ == "__main__":
    main()
