"""The MLflow server and the plane, by the same calls in turns: rates, latencies and processor time of each call.

    make mlflow
    python benchmarks/tracking.py [--seconds 6] [--rounds 3] [--search 20000] [--scale 10000,1000000] [--only calls]

Both have two web processes and a database each in one PostgreSQL, which is started for this. The reference is MLflow at
its best: uvicorn with uvloop and httptools (with its own default every call waits 44 ms). `--threads` callers keep a
connection each. Processor time is that of the server's processes and of PostgreSQL together, over a phase and what the
phase left to be done: the plane's dispatcher takes points in afterwards, so each phase ends with a read of every run
that it wrote to, and is counted until nothing waits. The plane is asked with a token, checked on every call; MLflow
asks for none. `--only`: calls, client, search or scale, comma-separated.
"""

from __future__ import annotations

import argparse
import itertools
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import psycopg

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks import seed_runs
from benchmarks.calling import Caller, Measured, at_once
from tests.faults.services import Postgres
from tests.mlflow import servers
from tests.mlflow.environment import python_of

CLIENT = Path(__file__).with_name("tracking_client.py")
UVICORN = "--loop uvloop --http httptools"
POINTS = 100
PARTS = ("calls", "client", "search", "scale")


def now() -> int:
    return int(time.time() * 1000)


# -- the phases -----------------------------------------------------------------------------------------------------
def new_run(caller: Caller, experiment: str, number: int = 0) -> dict[str, str]:
    asked = {"experiment_id": experiment, "start_time": now(), "run_name": f"r{number}"}
    return caller.post("runs/create", asked | {"tags": [{"key": "mlflow.user", "value": "b"}]})["run"]["info"]


def creates_runs(caller: Caller, experiment: str) -> Callable[[int], Any]:
    return lambda number: new_run(caller, experiment, number)


def logs_batches(caller: Caller, experiment: str) -> Callable[[int], Any]:
    run = caller.wrote_to(new_run(caller, experiment)["run_id"])

    def log(number: int) -> None:
        moment, first = now(), number * POINTS // 10
        metrics = [
            {"key": f"m{k % 10}", "value": k / 7, "timestamp": moment, "step": first + k // 10} for k in range(POINTS)
        ]
        caller.post("runs/log-batch", {"run_id": run, "metrics": metrics})

    return log


def logs_metrics(caller: Caller, experiment: str) -> Callable[[int], Any]:
    run = caller.wrote_to(new_run(caller, experiment)["run_id"])
    return lambda number: caller.post(
        "runs/log-metric", {"run_id": run, "key": "loss", "value": number / 7, "timestamp": now(), "step": number}
    )


def gets_a_run(caller: Caller, experiment: str) -> Callable[[int], Any]:
    run = new_run(caller, experiment)["run_id"]
    return lambda _: caller.get("runs/get", {"run_id": run})


def creates_models(caller: Caller, _: str) -> Callable[[int], Any]:
    name = f"m-{uuid.uuid4().hex[:8]}"
    return lambda number: caller.post("registered-models/create", {"name": f"{name}-{number}"})


def creates_versions(caller: Caller, experiment: str) -> Callable[[int], Any]:
    run, name = new_run(caller, experiment), f"v-{uuid.uuid4().hex[:8]}"
    caller.post("registered-models/create", {"name": name})
    asked = {"name": name, "run_id": run["run_id"], "source": f"{run['artifact_uri']}/model"}
    return lambda _: caller.post("model-versions/create", asked)


# name -> (what a caller does, times the reference that it should be)
CALLS: dict[str, tuple[Callable[[Caller, str], Callable[[int], Any]], str]] = {
    "runs/create": (creates_runs, "3"),
    f"log-batch of {POINTS}": (logs_batches, "10"),
    "log-metric": (logs_metrics, "4, at most 1.3 ms"),
    "runs/get": (gets_a_run, ""),
    "registered-models/create": (creates_models, ""),
    "model-versions/create": (creates_versions, "3"),
}

SEARCHES: dict[str, tuple[dict[str, Any], str]] = {
    "page of 100": ({"max_results": 100}, "5"),
    "acc > 0.99 and bs = 3, by acc, 100": (
        {
            "max_results": 100,
            "filter": "metrics.acc > 0.99 and params.bs = '3'",
            "order_by": ["metrics.acc DESC"],
        },
        "",
    ),
    # As many are found in 10,000 runs as in a million: the difference to the one above is the answer's.
    "acc > 0.99 and bs = 3, by acc, 10": (
        {
            "max_results": 10,
            "filter": "metrics.acc > 0.99 and params.bs = '3'",
            "order_by": ["metrics.acc DESC"],
        },
        "",
    ),
    "by loss, the first": ({"max_results": 1, "order_by": ["metrics.loss ASC"]}, "10"),
}


# -- processor time -------------------------------------------------------------------------------------------------
@dataclass
class Side:
    """One of the two servers, with what its calls need and cost."""

    name: str
    server: servers.Server
    database: str
    postgres: psutil.Process
    experiment: str = ""

    def caller(self) -> Caller:
        return Caller(self.server.address, self.server.token)

    def settle(self) -> None:
        """Wait until the plane has taken in all that it was sent: a reader does so for two seconds at most."""
        if self.name != "plane":
            return
        deadline = time.monotonic() + 120
        with psycopg.connect(self.database, autocommit=True) as connection:
            while connection.execute("SELECT 1 FROM experiments_metricbatch LIMIT 1").fetchone():
                if time.monotonic() > deadline:
                    raise RuntimeError("the dispatcher has not taken in what was sent")
                time.sleep(0.2)

    def processor(self) -> float:
        """Seconds used until now by the server and by PostgreSQL, their children that have ended included."""
        return sum(map(used_by_tree, (psutil.Process(self.server.pid), self.postgres)))


def used_by_tree(process: psutil.Process) -> float:
    total = 0.0
    for one in (process, *process.children(recursive=True)):
        try:
            times = one.cpu_times()
        except psutil.Error:
            continue  # ended since: its parent has its time now
        total += times.user + times.system + times.children_user + times.children_system
    return total


def measured(side: Side, make: Callable[[Caller, str], Callable[[int], Any]], threads: int, seconds: float) -> Measured:
    callers = [side.caller() for _ in range(threads)]
    calls = [make(caller, side.experiment) for caller in callers]
    before = side.processor()
    found = at_once(calls, seconds)
    for caller in callers:
        for run in caller.runs:
            caller.get("runs/get", {"run_id": run})
    time.sleep(1.5)  # the dispatcher's turn comes every second
    side.settle()
    found.processor_ms = (side.processor() - before) * 1e3 / max(found.calls, 1)
    return found


def searched(side: Side, asked: dict[str, Any], times: int) -> Measured:
    caller = side.caller()
    body = asked | {"experiment_ids": [side.experiment]}
    caller.post("runs/search", body)  # the first of a connection is not like the others
    before = side.processor()
    found = at_once([lambda _: caller.post("runs/search", body)], seconds=30, count=times)
    found.processor_ms = (side.processor() - before) * 1e3 / max(found.calls, 1)
    return found


# -- the two servers ------------------------------------------------------------------------------------------------
@contextmanager
def both(made: Path) -> Iterator[tuple[Side, Side]]:
    with ExitStack() as stack:
        folder = Path(tempfile.mkdtemp(prefix="bench-tracking-"))
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        postgres = Postgres(flags=["-c", "max_connections=120", "-c", "shared_buffers=512MB"])
        stack.callback(postgres.remove)
        for name in ("reference", "plane"):
            postgres.sql(f"CREATE DATABASE {name}")
        urls = {name: postgres.url(name) for name in ("reference", "plane")}
        store = urls["reference"].replace("postgres:", "postgresql:")
        reference = stack.enter_context(
            servers.reference(folder / "reference", made, store=store, workers=2, loop=UVICORN)
        )
        plane = stack.enter_context(
            servers.plane(folder / "plane", parts="web,dispatcher", DATABASE_URL=urls["plane"], WEB_WORKERS="2")
        )
        root = psutil.Process(postgres.process.pid)
        sides = Side("MLflow", reference, urls["reference"], root), Side("plane", plane, urls["plane"], root)
        for side in sides:
            side.experiment = new_experiment(side)
        yield sides


def new_experiment(side: Side) -> str:
    return side.caller().post("experiments/create", {"name": f"bench-{uuid.uuid4().hex[:8]}"})["experiment_id"]


# -- what is printed ------------------------------------------------------------------------------------------------
def row(*cells: Any) -> None:
    print("| " + " | ".join(str(cell) for cell in cells) + " |", flush=True)


def head(*cells: str) -> None:
    print()
    row(*cells)
    row(*("---" for _ in cells))


def calls(sides: tuple[Side, Side], options: argparse.Namespace) -> None:
    head("call", "MLflow, /s", "plane, /s", "times", "goal", "p50 ms", "", "processor ms a call", "", "times less")
    for name, (make, goal) in CALLS.items():
        rounds = [
            [measured(side, make, options.threads, options.seconds) for side in sides] for _ in range(options.rounds)
        ]
        reference, plane = (Measured.median(found) for found in zip(*rounds, strict=True))
        ratio = statistics.median(ours.per_second / theirs.per_second for theirs, ours in rounds)
        less = statistics.median(theirs.processor_ms / ours.processor_ms for theirs, ours in rounds)
        row(
            name,
            f"{reference.per_second:.0f}",
            f"{plane.per_second:.0f}",
            f"**{ratio:.1f}**",
            goal,
            f"{reference.p50_ms:.1f}",
            f"{plane.p50_ms:.1f}",
            f"{reference.processor_ms:.2f}",
            f"{plane.processor_ms:.2f}",
            f"{less:.1f}",
        )


def client(sides: tuple[Side, Side], options: argparse.Namespace, made: Path) -> None:
    """The unmodified client in a loop, in a process of its own."""
    found: dict[str, dict[str, list[float]]] = {}
    for side in [*sides] * options.rounds:
        environment = servers.plain_environment(
            HOME=tempfile.gettempdir(),
            MLFLOW_TRACKING_URI=side.server.address,
            MLFLOW_TRACKING_TOKEN=side.server.token or "none",
        )
        command = [python_of(made), "-P", CLIENT, str(options.seconds)]
        done = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
        for line in done.stdout.splitlines():
            name, _, rate = line.rpartition(" ")
            found.setdefault(name, {}).setdefault(side.name, []).append(float(rate))
    head("the stock client in a loop", "MLflow, /s", "plane, /s", "times", "goal")
    for name, rates in found.items():
        theirs, ours = (statistics.median(rates[side.name]) for side in sides)
        row(name, f"{theirs:.0f}", f"{ours:.0f}", f"**{ours / theirs:.1f}**", "2.5" if name == "log_metric" else "")


def search(sides: tuple[Side, Side], options: argparse.Namespace) -> None:
    for side in sides:
        side.experiment = new_experiment(side)
        seed(side, 1, options.search)
    head(f"search of {options.search:,} runs", "MLflow, ms", "plane, ms", "times", "goal", "processor ms a call", "")
    for name, (asked, goal) in SEARCHES.items():
        rounds = [[searched(side, asked, 15) for side in sides] for _ in range(options.rounds)]
        reference, plane = (Measured.median(found) for found in zip(*rounds, strict=True))
        ratio = statistics.median(theirs.p50_ms / ours.p50_ms for theirs, ours in rounds)
        row(
            name,
            f"{reference.p50_ms:.1f}",
            f"{plane.p50_ms:.1f}",
            f"**{ratio:.1f}**",
            goal,
            f"{reference.processor_ms:.1f}",
            f"{plane.processor_ms:.1f}",
        )


def scale(plane: Side, sizes: list[int]) -> None:
    """The same searches of the plane alone, while its table grows."""
    plane.experiment = new_experiment(plane)
    times: dict[str, list[Measured]] = {name: [] for name in SEARCHES}
    for before, size in itertools.pairwise([0, *sizes]):
        seed(plane, before + 1, size)
        for name, (asked, _) in SEARCHES.items():
            times[name].append(searched(plane, asked, 20))
    head("search of the plane", *(f"{size:,} runs, ms" for size in sizes), f"{sizes[-1]:,} to {sizes[0]:,}", "goal")
    for name, found in times.items():
        values = [f"{one.p50_ms:.1f}" for one in found]
        row(name, *values, f"**{found[-1].p50_ms / found[0].p50_ms:.2f}**", "2 at most")


def seed(side: Side, first: int, last: int) -> None:
    if side.name == "plane":
        seconds = seed_runs.of_plane(side.database, side.experiment, "demo", first, last)
    else:
        seconds = seed_runs.of_reference(side.database, side.experiment, first, last)
    print(f"{side.name}: runs {first:,} to {last:,} written in {seconds:.0f} s", file=sys.stderr)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=6, help="of each phase")
    parser.add_argument("--rounds", type=int, default=3, help="of which medians are told")
    parser.add_argument("--threads", type=int, default=4, help="callers at once")
    parser.add_argument("--search", type=int, default=20_000, metavar="RUNS", help="that both servers search")
    parser.add_argument("--scale", default="10000,1000000", metavar="RUNS", help="that the plane searches, growing")
    parser.add_argument("--only", default=",".join(PARTS))
    parser.add_argument("--env", default=os.environ.get("MLFLOW_ENV", ".mlflow"), help="made by `make mlflow`")
    options = parser.parse_args()
    made, wanted = Path(options.env).resolve(), options.only.split(",")
    with both(made) as sides:
        if "calls" in wanted:
            calls(sides, options)
        if "client" in wanted:
            client(sides, options, made)
        if "search" in wanted:
            search(sides, options)
        if "scale" in wanted:
            scale(sides[1], [int(size) for size in options.scale.split(",")])


if __name__ == "__main__":
    main()
