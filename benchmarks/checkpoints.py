"""What checkpoints cost a training: none, written by the engine, and also stored as a worker stores them.

Run: python benchmarks/checkpoints.py [rounds]        (default 3 rounds)

The same training, the ways alternating within each round, every second round backwards; the figure is the median over
rounds, as a ratio to "none" of the same round. "written": the engine writes and syncs each checkpoint beside its
output. "stored": a thread hashes and copies the newest into a folder store while the training goes on, as
workers/checkpoints.py does; one at a time, so of those that come meanwhile only the newest is stored.
"""

from __future__ import annotations

import math
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

WAYS = ("none", "written", "stored")
NEVER = 1_000_000
# name, hidden layers, epochs of 1,400 training rows, steps between two checkpoints (the default is 500)
CASES = (("64x64", [64, 64], 60, 500), ("64x64", [64, 64], 60, 50), ("6x1024", [1024] * 6, 2, 25))


def start_django(home: str) -> None:
    import django

    os.environ["PLANE_HOME"] = home
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "controlplane.settings")
    django.setup()


class Storing:
    """The engine's report, and the worker's hand: links, opens, and stores what is announced."""

    def __init__(self, job: Any) -> None:
        self.job, self.upload, self.stored, self.written, self.size = job, None, 0, 0, 0

    def progress(self, *_: Any, **__: Any) -> None: ...

    metric = log = progress

    def checkpoint(self, path: Path, step: int) -> None:
        from workers.checkpoints import CheckpointUpload

        self.written, self.size = self.written + 1, path.stat().st_size
        if self.job is None or (self.upload and self.upload.is_alive()):
            return
        self.upload = CheckpointUpload(self.job, path.open("rb"), step)
        self.upload.start()
        self.stored += 1

    def end(self) -> None:
        if self.upload:
            self.upload.stopped.set()
            self.upload.join()


def once(folder: Path, way: str, hidden: list[int], epochs: int, every: int) -> tuple[float, Storing, int]:
    """Seconds of one training, its report, and its steps."""
    from types import SimpleNamespace

    from apps.platform.jobs.checkpoints import get_checkpoint_area
    from deepseek.train.run import run
    from deepseek.train.spec import TrainSpec

    spec = TrainSpec.model_validate(
        {
            "task": "forecast",
            "target": "price",
            "hidden": hidden,
            "epochs": epochs,
            "patience": 0,
            "checkpoint_every": NEVER if way == "none" else every,
        }
    )
    report = Storing(SimpleNamespace(pk=1, attempt=1) if way == "stored" else None)
    with tempfile.TemporaryDirectory(dir=folder) as name:
        began = time.perf_counter()
        result = run(spec, inputs={"table": folder / "table.csv"}, out=Path(name) / "out", report=report)
        seconds = time.perf_counter() - began
    report.end()
    get_checkpoint_area(1, 1).clear()
    return seconds, report, int(str(result.summary["steps"]))


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 3
    with tempfile.TemporaryDirectory() as home:
        start_django(home)
        folder = Path(home)
        rows = (f"{n},{50 + 10 * math.sin(n / 9) + n % 7 / 3}\n" for n in range(2000))
        (folder / "table.csv").write_text("day,price\n" + "".join(rows))
        once(folder, "none", [8], 1, NEVER)  # imports
        print(
            "| network | steps | every | checkpoint, MB | written | stored | none, s | written / none | stored / none |"
        )
        print("|---|---|---|---|---|---|---|---|---|")
        for case in CASES:
            print(row(folder, rounds, *case), flush=True)


def row(folder: Path, rounds: int, name: str, hidden: list[int], epochs: int, every: int) -> str:
    ratios: dict[str, list[float]] = {way: [] for way in WAYS}
    bare, counts, steps, size = [], (0, 0), 0, 0
    for number in range(rounds):
        seconds = {}
        for way in WAYS if number % 2 == 0 else WAYS[::-1]:
            seconds[way], report, steps = once(folder, way, hidden, epochs, every)
            if way == "stored":
                counts, size = (report.written, report.stored), report.size
        bare.append(seconds["none"])
        for way in WAYS:
            ratios[way].append(seconds[way] / seconds["none"])
    middle = [f"{statistics.median(ratios[way]):.2f}" for way in WAYS[1:]]
    cells = [name, f"{steps:,}", every, f"{size / 1e6:.3g}", *counts, f"{statistics.median(bare):.2f}", *middle]
    return "| " + " | ".join(map(str, cells)) + " |"


if __name__ == "__main__":
    main()
