"""What it costs a script to run through the plane: work per second, and the time until its first line.

    python benchmarks/script_overhead.py [--seconds 120] [--rounds 3] [--runs 10] [--only work|start]

Starts a plane of its own with `manage.py up` (SQLite, the file broker) in a temporary home.

Work: a script whose two processes of one thread each train a small network for `--seconds`, and print a line a second.
It runs through the plane (`deepseek run`) and alone, in turns; alone the plane's processes are suspended. The ratio is
the median over rounds of the steps per second through the plane over those alone. Aim: at least 0.98.

Start: `deepseek run` of a script of one line, `--runs` times, beside `python` with the same file. "Submit to line" is
from the job's record being made to its line at the terminal; "command to line" includes the start of the command.
Aim: less than 2 s from submit to line, in the median. The other columns say where the time goes.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import psutil  # noqa: E402

from tests.faults.running import Running, environment_of  # noqa: E402

WORK = """
import json, multiprocessing, sys, time

def work(seconds, pipe):
    import torch
    from torch import nn
    torch.set_num_threads(1)
    network = nn.Sequential(nn.Linear(256, 256), nn.Tanh(), nn.Linear(256, 10))
    optimizer = torch.optim.SGD(network.parameters(), 0.01)
    inputs, targets = torch.randn(128, 256), torch.randint(0, 10, (128,))
    def step():
        optimizer.zero_grad()
        nn.functional.cross_entropy(network(inputs), targets).backward()
        optimizer.step()
    for _ in range(50):
        step()
    began, steps, told = time.monotonic(), 0, 0
    while (passed := time.monotonic() - began) < seconds:
        step()
        steps += 1
        if passed > told:
            told += 1
            print("second", told, flush=True)
    pipe.send(steps / passed)

if __name__ == "__main__":
    pipes = [multiprocessing.Pipe(duplex=False) for _ in range(2)]
    processes = [multiprocessing.Process(target=work, args=(float(sys.argv[1]), pipe)) for _, pipe in pipes]
    for process in processes:
        process.start()
    print("rate", sum(pipe.recv() for pipe, _ in pipes), flush=True)
    for process in processes:
        process.join()
"""
LINE = "import time; print('now', time.time(), flush=True)\n"
SETTINGS = {"LEASE_SECONDS": "30", "DISPATCH_SECONDS": "1", "NODE_CPUS": "2", "NODE_NAME": "bench"}
DEEPSEEK = str(Path(sys.executable).with_name("deepseek"))


class Bench:
    """Scripts in a folder, and a plane that runs them."""

    def __init__(self, plane: Running, folder: Path) -> None:
        self.plane, self.folder = plane, folder
        self.environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(folder),
            "PYTHONUNBUFFERED": "1",
            "DEEPSEEK_URL": plane.facts()["address"],
            "DEEPSEEK_TOKEN": plane.token,
        }

    def write(self, name: str, text: str) -> Path:
        path = self.folder / name / "train.py"
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        return path

    def measure_rate(self, command: list[str]) -> float:
        done = subprocess.run(command, env=self.environment, capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(done.stderr)
        return next(float(line.split()[1]) for line in done.stdout.splitlines() if line.startswith("rate "))

    def measure_start(self, script: Path) -> dict[str, float]:
        """Seconds of each part of the way from the command to its line."""
        before = time.time()
        command = [DEEPSEEK, "run", str(script)]
        process = subprocess.Popen(command, env=self.environment, stdout=-1, stderr=-1, text=True)
        line = next(line for line in process.stdout if line.startswith("now "))
        at = time.time()
        _, told = process.communicate()
        number = re.search(r"job (\d+):", told)
        job = self.plane.plane.get(f"/jobs/{number[1]}")
        made, claimed = (datetime.fromisoformat(job[name]).timestamp() for name in ("created_at", "claimed_at"))
        own = float(line.split()[1])
        return {
            "submit to line": at - made,
            "command to line": at - before,
            "command to submit": made - before,
            "submit to claim": claimed - made,
            "claim to script": own - claimed,
            "script to terminal": at - own,
        }

    def measure_bare(self, script: Path) -> float:
        began = time.time()
        subprocess.run([sys.executable, str(script)], env=self.environment, capture_output=True, check=True)
        return time.time() - began


@contextmanager
def start_plane(home: Path) -> Iterator[Running]:
    """A plane with its first accounts. The migrated database is made once, in the folder of temporary files."""
    home.mkdir()
    template = Path(tempfile.gettempdir(), "plane-benchmarks")
    template.mkdir(exist_ok=True)
    environment = environment_of(home, **SETTINGS)
    django = {"DJANGO_SETTINGS_MODULE": "controlplane.settings", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "tests.faults.homes", str(template), "accounts"]
    made = subprocess.run(command, env={**environment, **django}, cwd=ROOT, capture_output=True, text=True, check=True)
    plane = Running(home, environment, json.loads(made.stdout.splitlines()[-1])["token"])
    try:
        yield plane
    finally:
        plane.stop()
        plane.kill_everything()


@contextmanager
def suspend(plane: Running) -> Iterator[None]:
    """Stop every process of the plane meanwhile."""
    launcher = psutil.Process(plane.launcher.pid)
    processes = [launcher, *launcher.children(recursive=True)]
    for process in processes:
        with suppress(psutil.Error):
            process.suspend()
    try:
        yield
    finally:
        for process in processes:
            with suppress(psutil.Error):
                process.resume()


def compare_work(bench: Bench, seconds: float, rounds: int) -> None:
    script = bench.write("work", WORK)
    ratios = []
    print("| round | alone, steps/s | through the plane | ratio |\n|---|---|---|---|", flush=True)
    for number in range(rounds):
        rates = {}
        for way in ("alone", "plane") if number % 2 == 0 else ("plane", "alone"):
            if way == "plane":
                rates[way] = bench.measure_rate([DEEPSEEK, "run", str(script), "--cpus", "2", "--", f"{seconds}"])
            else:
                with suspend(bench.plane):
                    rates[way] = bench.measure_rate([sys.executable, str(script), f"{seconds}"])
        ratios.append(rates["plane"] / rates["alone"])
        print(f"| {number + 1} | {rates['alone']:,.1f} | {rates['plane']:,.1f} | {ratios[-1]:.3f} |", flush=True)
    print(f"\nWork: {statistics.median(ratios):.3f} of the script alone (aim: at least 0.98)\n")


def compare_start(bench: Bench, runs: int) -> None:
    script = bench.write("line", LINE)
    bench.measure_start(script)  # the plane's first job pays for what all later ones share
    bare, rows = [], []
    for _ in range(runs):
        bare.append(bench.measure_bare(script))
        rows.append(bench.measure_start(script))
    print("| | median, s | worst, s |\n|---|---|---|")
    print(f"| python, to its end | {statistics.median(bare):.2f} | {max(bare):.2f} |")
    for name in rows[0]:
        values = [row[name] for row in rows]
        print(f"| {name} | {statistics.median(values):.2f} | {max(values):.2f} |")
    print("\nStart: aim from submit to line: less than 2 s in the median")


def stop(number: int, frame: object) -> None:
    sys.exit(128 + number)  # through the `finally` that ends the plane


def main() -> None:
    signal.signal(signal.SIGTERM, stop)
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=120, help="of each measurement of work (default 120)")
    parser.add_argument("--rounds", type=int, default=3, help="of work (default 3)")
    parser.add_argument("--runs", type=int, default=10, help="starts (default 10)")
    parser.add_argument("--only", choices=("work", "start"))
    given = parser.parse_args()
    print(json.dumps({"cpus": os.cpu_count(), "load_1m": round(os.getloadavg()[0], 2)}))
    with tempfile.TemporaryDirectory() as name, start_plane(Path(name, "home")) as plane:
        bench = Bench(plane, Path(name))
        if given.only != "work":
            compare_start(bench, given.runs)
        if given.only != "start":
            compare_work(bench, given.seconds, given.rounds)


if __name__ == "__main__":
    main()
