"""The peer of benchmarks/jobs.py: Celery as everybody uses it. The message carries the job; nothing is recorded.

Started by jobs.py, with BENCH_BROKER and BENCH_FOLDER: as a worker (`celery -A benchmarks.bare_celery worker`), and as
the sender (`python -m benchmarks.bare_celery SAMPLES BURST`), which prints {"latency": [ms...], "rate": tasks/s}.
"""

from __future__ import annotations

import json
import os
import random
import sys
import tempfile
import time
from pathlib import Path

from celery import Celery

from workers.process import EngineProcess

FOLDER = Path(os.environ.get("BENCH_FOLDER", "."))
BROKER = os.environ.get("BENCH_BROKER", "filesystem://")
REQUEST = {
    "entry": "deepseek.noop.run:run",
    "spec_class": "deepseek.noop.spec:NoopSpec",
    "spec": "{}",
    "inputs": {},
}

app = Celery("bare", broker=BROKER)
app.conf.task_ignore_result = True
app.conf.worker_prefetch_multiplier = 1
if BROKER.startswith("filesystem"):
    for name in ("queue", "control"):
        (FOLDER / name).mkdir(exist_ok=True, parents=True)
    app.conf.broker_transport_options = {
        "data_folder_in": str(FOLDER / "queue"),
        "data_folder_out": str(FOLDER / "queue"),
        "control_folder": str(FOLDER / "control"),
    }


@app.task(name="bare.started")
def started(number: int, sent_at: float) -> None:
    """Note how long the message was under way, in ms."""
    note(f"latency-{number}", str((time.time() - sent_at) * 1e3))


@app.task(name="bare.child")
def child(number: int) -> None:
    """Run the no-op engine in a child under the shim, as a job of the plane does."""
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        request = {**REQUEST, "out": str(scratch / "out")}
        process = EngineProcess(request, scratch=scratch, mark=f"bare:{number}", cpus=0.1, devices=[], grace=1.0)
        while os.read(process.events, 65536):
            pass
        process.close(1.0)
    note(f"child-{number}", str(time.time()))


def note(name: str, text: str) -> None:
    staged = FOLDER / f".{name}"
    staged.write_text(text)
    staged.rename(FOLDER / name)


def await_note(name: str, seconds: float = 60) -> float:
    until = time.monotonic() + seconds
    while not (FOLDER / name).exists():
        if time.monotonic() > until:
            raise TimeoutError(name)
        time.sleep(0.005)
    return float((FOLDER / name).read_text())


def main(samples: int, burst: int) -> None:
    started.delay(-1, time.time())
    await_note("latency--1")  # the worker is up
    latency = []
    for number in range(samples):
        time.sleep(random.uniform(0.1, 0.4))
        started.delay(number, time.time())
        latency.append(await_note(f"latency-{number}"))
    began = time.time()
    for number in range(burst):
        child.delay(number)
    last = max(await_note(f"child-{number}", 120) for number in range(burst))
    print(json.dumps({"latency": latency, "rate": burst / (last - began)}))


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
