"""The queue: how long from submit to claim, how many jobs a second, what a claim costs when 10,000 rows wait.

    python benchmarks/jobs.py [--mode embedded|services|both] [--samples 60] [--burst 100] [--rows 10000]

Starts a plane of its own with `manage.py up` in a temporary home: on SQLite and the file broker ("embedded"), or on a
PostgreSQL and a Redis of its own ("services"; those of DATABASE_URL and BROKER_URL where both are given). Latency is
`claimed_at - created_at` of jobs submitted one at a time over REST, at random moments, with nothing else to do. The
peer is stock Celery on the same kind of broker: a message that carries the job (benchmarks/bare_celery.py), and, for
the rate, tasks that run the same engine child. benchmarks/claim.py measures the claim alone.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from tests.faults.running import Running, environment_of, manage  # noqa: E402
from tests.faults.services import Postgres, Redis  # noqa: E402

AIMS = {"embedded": (60, 100), "services": (5, 10)}  # submit to claim, p50 and p95, ms
SETTINGS = {"LEASE_SECONDS": "30", "DISPATCH_SECONDS": "1", "NODE_CPUS": "2", "NODE_NAME": "bench", "WEB_THREADS": "64"}
THREADS = 16  # of the worker: its default


def quantile(values: Sequence[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, round(share * (len(values) - 1)))]


def shown(values: Sequence[float]) -> str:
    return f"p50 {statistics.median(values):6.1f} ms   p95 {quantile(values, 0.95):6.1f} ms   max {max(values):6.1f} ms"


def milliseconds(job: dict, start: str, end: str) -> float:
    return (datetime.fromisoformat(job[end]) - datetime.fromisoformat(job[start])).total_seconds() * 1e3


# -- places ---------------------------------------------------------------------------------------------------------
@contextmanager
def services_of(mode: str, folder: Path) -> Iterator[dict[str, str]]:
    """The variables that choose the mode."""
    if mode == "embedded":
        yield {}
        return
    given = {name: os.environ.get(name, "") for name in ("DATABASE_URL", "BROKER_URL")}
    if all(given.values()):
        yield given
        return
    postgres, redis = Postgres(), Redis(folder / "redis")
    try:
        postgres.sql("CREATE DATABASE plane")
        yield {"DATABASE_URL": postgres.url("plane"), "BROKER_URL": redis.url(0)}
    finally:
        redis.stop(hard=True)
        postgres.remove()


@contextmanager
def plane_in(home: Path, more: dict[str, str]) -> Iterator[Running]:
    environment = environment_of(home, **SETTINGS, **more)
    for command in (["migrate"], ["create_first_accounts"]):
        done = manage(home, environment, *command)
        if done.returncode:
            raise SystemExit(done.stderr)
    token = manage(home, environment, "create_token", "engineer", "--project", "demo", "--scopes", "read,jobs:write")
    running = Running(home, environment, token.stdout.strip())
    try:
        yield running
    finally:
        running.stop()
        running.kill_everything()


# -- the plane ------------------------------------------------------------------------------------------------------
def one_at_a_time(running: Running, samples: int) -> dict[str, list[float]]:
    """Jobs submitted while nothing else runs: ms until claimed, until ended, and of the request itself."""
    found: dict[str, list[float]] = {"submit to claim": [], "claim to end": [], "the request": []}
    for number in range(samples + 3):
        started = time.perf_counter()
        job = running.submit(kind="noop")
        request = (time.perf_counter() - started) * 1e3
        ended = running.plane.wait(job, seconds=60)
        if number >= 3:  # the first ones load modules and open connections
            found["submit to claim"].append(milliseconds(ended, "created_at", "claimed_at"))
            found["claim to end"].append(milliseconds(ended, "claimed_at", "ended_at"))
            found["the request"].append(request)
        time.sleep(random.uniform(0.1, 0.4))
    return found


def burst(running: Running, count: int) -> float:
    """No-op jobs per second, from the first submit to the last end; four clients submit."""
    with ThreadPoolExecutor(4) as clients:
        numbers = list(clients.map(lambda _: running.submit(kind="noop"), range(count)))
    ended = [running.plane.wait(number, seconds=120) for number in numbers]
    if any(job["state"] != "succeeded" for job in ended):
        raise SystemExit("a job of the burst did not succeed")
    first = min(datetime.fromisoformat(job["created_at"]) for job in ended)
    last = max(datetime.fromisoformat(job["ended_at"]) for job in ended)
    return count / (last - first).total_seconds()


def children_of_one(running: Running, count: int) -> float:
    """Jobs per second when one parent's end frees them all at once: a single moment, not a stream of doorbells."""
    parent = running.submit(kind="noop", spec={"seconds": 3})
    numbers = [running.submit(kind="noop", after=[parent]) for _ in range(count)]
    began = datetime.fromisoformat(running.plane.wait(parent, seconds=60)["ended_at"])
    ended = [running.plane.wait(number, seconds=120) for number in numbers]
    return count / (max(datetime.fromisoformat(job["ended_at"]) for job in ended) - began).total_seconds()


# -- the peer -------------------------------------------------------------------------------------------------------
@contextmanager
def bare_celery(folder: Path, broker: str) -> Iterator[dict[str, str]]:
    folder.mkdir()
    environment = {**os.environ, "BENCH_FOLDER": str(folder), "BENCH_BROKER": broker, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "celery", "-A", "benchmarks.bare_celery", "worker", "--pool=threads"]
    flags = [f"--concurrency={THREADS}", "--without-gossip", "--without-mingle", "--without-heartbeat", "-l", "WARNING"]
    with (folder / "log").open("ab") as log:
        worker = subprocess.Popen([*command, *flags], env=environment, cwd=ROOT, stdout=log, stderr=log)
    try:
        yield environment
    finally:
        worker.terminate()
        worker.wait(timeout=30)


def peer(environment: dict[str, str], samples: int, count: int) -> dict:
    command = [sys.executable, "-m", "benchmarks.bare_celery", str(samples), str(count)]
    done = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, check=False, timeout=300)
    if done.returncode:
        raise SystemExit(done.stderr)
    return json.loads(done.stdout)


# -- all ------------------------------------------------------------------------------------------------------------
def measure(mode: str, samples: int, count: int, rows: int) -> None:
    with tempfile.TemporaryDirectory(prefix="bench-jobs-") as name, services_of(mode, Path(name)) as more:
        folder = Path(name)
        home = folder / "home"
        home.mkdir()
        print(f"{mode}: load average at the start {os.getloadavg()[0]:.2f}", flush=True)
        with plane_in(home, more) as running:
            found = one_at_a_time(running, samples)
            for what, values in found.items():
                print(f"  {what:20} {shown(values)}", flush=True)
            print(f"  {'aim':20} p50 {AIMS[mode][0]:6.1f} ms   p95 {AIMS[mode][1]:6.1f} ms", flush=True)
            rate, fanned = burst(running, count), children_of_one(running, count)
        broker = more["BROKER_URL"][:-1] + "9" if more else "filesystem://"
        with bare_celery(folder / "celery", broker) as environment:
            stock = peer(environment, samples, count)
        ours = statistics.median(found["submit to claim"])
        theirs = statistics.median(stock["latency"])
        print(f"  stock Celery         {shown(stock['latency'])}   ours is {ours / theirs:.2f} of it")
        print(f"  burst of {count}      {rate:6.1f} jobs/s   children of one parent {fanned:6.1f} jobs/s")
        print(
            f"  stock Celery, child  {stock['rate']:6.1f} jobs/s   ours is {rate / stock['rate']:.2f} of it", flush=True
        )
        command = [sys.executable, str(ROOT / "benchmarks" / "claim.py"), "--rows", str(rows)]
        subprocess.run(command, env=environment_of(home, **SETTINGS, **more), cwd=ROOT, check=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--mode", choices=("embedded", "services", "both"), default="both")
    parser.add_argument("--samples", type=int, default=60)
    parser.add_argument("--burst", type=int, default=100)
    parser.add_argument("--rows", type=int, default=10_000)
    asked = parser.parse_args()
    for mode in ("embedded", "services") if asked.mode == "both" else (asked.mode,):
        measure(mode, asked.samples, asked.burst, asked.rows)


if __name__ == "__main__":
    main()
