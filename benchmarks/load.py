"""What 30 clients get from a plane that has nothing else to do: an engineer's day, readers and writers mixed.

    python benchmarks/load.py [--clients 30] [--seconds 60] [--pause 1] [--rows 200]       SQLite
    DATABASE_URL=postgres://user@host/any python benchmarks/load.py                        an empty database of its own

Starts a plane (2 web processes of 64 threads, or as WEB_WORKERS and WEB_THREADS say) that holds `rows` of everything
(tests/walking.py). Each client keeps a connection and draws its next request from DAY, by its weight; `--pause` seconds
on average lie between two (with 0 the processors are full whatever the plane does, and the figures are those of a
queue). Prints p50, p99 and the longest of each request, of reads and of writes, the rate, the errors, the processor
time of the web processes a request, which is worth something on a busy machine too, and what they hold in memory: at
the start, at the end of each minute, and the slope of a line through the second half. `--assert` ends with status 1
where reads have a p99 of 500 ms or more, or anything an error.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import random
import secrets
import signal
import sys
import tempfile
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psutil

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

TARGET_P99 = 0.5  # seconds, of reads
PATIENCE = 120.0
SAMPLE_SECONDS = 1.0
PROJECT = "/api/v1/projects/demo"
MLFLOW = "/api/2.0/mlflow"

SEED = """
import json
from datetime import timedelta
from django.test import Client
from django.utils import timezone
from apps.platform.accounts.models import ApiToken, Project, User
from apps.core.canonical import sha256_hex
from tests import walking
plane = walking.first_rows()
walking.grow(plane, ROWS, wide=20)
engineer = User.objects.get(username="engineer")
ApiToken.objects.create(project=Project.objects.get(slug="demo"), user=engineer, name="load", prefix="dso_",
    digest=sha256_hex("TOKEN"), expires_at=timezone.now() + timedelta(days=1),
    scopes=["read", "data:write", "jobs:write", "runs:write", "models:write"])
people = {person.name: person.client.cookies["sessionid"].value for person in walking.visitors()}
print(json.dumps({"session": people["engineer"], "job": plane.job, "run": plane.run}))
"""


@dataclass
class Client:
    """Somebody with a browser and a script: one connection, a session and a token."""

    address: str
    token: str
    session: str
    facts: dict[str, Any]
    random: random.Random
    seconds: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    errors: Counter[str] = field(default_factory=Counter)
    connection: http.client.HTTPConnection | None = None
    own_run: str = ""
    step: int = 0

    def page(self, path: str) -> bytes:
        return self.send("GET", path, None, {"Cookie": f"sessionid={self.session}", "Accept": "text/html"})

    def read(self, path: str) -> bytes:
        return self.send("GET", path, None, {"Authorization": f"Bearer {self.token}"})

    def write(self, path: str, body: Any) -> bytes:
        headers = {"Authorization": f"Bearer {self.token}"}
        if isinstance(body, bytes):
            return self.send("POST", path, body, headers | {"Content-Type": "application/octet-stream"})
        return self.send("POST", path, json.dumps(body).encode(), headers | {"Content-Type": "application/json"})

    def send(self, method: str, path: str, data: bytes | None, headers: dict[str, str]) -> bytes:
        if self.connection is None:
            parts = urlsplit(self.address)
            self.connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=PATIENCE)
        try:
            self.connection.request(method, path, data, headers)
            answer = self.connection.getresponse()
            content = answer.read()
        except (OSError, http.client.HTTPException) as failure:
            self.connection.close()
            self.connection = None
            raise RuntimeError(type(failure).__name__) from failure
        if answer.status >= 400:
            raise RuntimeError(f"{answer.status} {content[:80]!r}")
        return content

    def begin_run(self) -> str:
        now = int(time.time() * 1000)
        body = {"experiment_id": "0", "start_time": now, "run_name": f"load {self.random.random():.6f}"}
        return str(json.loads(self.write(f"{MLFLOW}/runs/create", body))["run"]["info"]["run_id"])


def log_batch(client: Client) -> None:
    client.own_run = client.own_run or client.begin_run()
    now, client.step = int(time.time() * 1000), client.step + 10
    metrics = [
        {"key": key, "value": client.random.random(), "timestamp": now, "step": client.step + step}
        for key in ("loss", "accuracy")
        for step in range(10)
    ]
    client.write(f"{MLFLOW}/runs/log-batch", {"run_id": client.own_run, "metrics": metrics})


def create_run(client: Client) -> None:
    client.own_run = client.begin_run()


def submit_job(client: Client) -> None:
    client.write(f"{PROJECT}/jobs", {"kind": "noop", "spec": {"seconds": 0.01}})


def upload(client: Client) -> None:
    client.write(f"{PROJECT}/artifacts", client.random.randbytes(100_000))


READ, WRITE = "read", "write"
# name -> (kind, weight, what the client does)
DAY: dict[str, tuple[str, int, Callable[[Client], Any]]] = {
    "page: project": (READ, 6, lambda client: client.page("/p/demo/")),
    "page: jobs": (READ, 8, lambda client: client.page("/p/demo/jobs")),
    "page: a job": (READ, 8, lambda client: client.page(f"/p/demo/jobs/{client.facts['job']}")),
    "page: runs": (READ, 8, lambda client: client.page("/p/demo/runs")),
    "page: a run": (READ, 8, lambda client: client.page(f"/p/demo/runs/{client.facts['run']}")),
    "page: models": (READ, 4, lambda client: client.page("/p/demo/models")),
    "page: data": (READ, 4, lambda client: client.page("/p/demo/data")),
    "API: jobs": (READ, 10, lambda client: client.read(f"{PROJECT}/jobs")),
    "API: a job": (READ, 10, lambda client: client.read(f"{PROJECT}/jobs/{client.facts['job']}")),
    "API: runs": (READ, 4, lambda client: client.read(f"{PROJECT}/runs")),
    "API: datasets": (READ, 4, lambda client: client.read(f"{PROJECT}/datasets")),
    "log-batch of 20": (WRITE, 14, log_batch),
    "create a run": (WRITE, 3, create_run),
    "submit a job": (WRITE, 3, submit_job),
    "upload 100 KB": (WRITE, 4, upload),
}


def work(client: Client, end: float, pause: float) -> None:
    names, weights = list(DAY), [weight for _, weight, _ in DAY.values()]
    while time.monotonic() < end:
        if pause:
            time.sleep(client.random.expovariate(1 / pause))
        name = client.random.choices(names, weights)[0]
        began = time.monotonic()
        try:
            DAY[name][2](client)
        except RuntimeError as failure:
            client.errors[f"{name}: {failure}"] += 1
        client.seconds[name].append(time.monotonic() - began)


# -- figures ----------------------------------------------------------------------------------------------------------
def quantile(seconds: list[float], share: float) -> float:
    ordered = sorted(seconds)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0


def row(name: str, seconds: list[float]) -> str:
    figures = [quantile(seconds, 0.5), quantile(seconds, 0.99), max(seconds, default=0.0)]
    return f"| {name} | {len(seconds)} | " + " | ".join(f"{value * 1e3:.0f}" for value in figures) + " |"


def slope(samples: list[tuple[float, float]]) -> float:
    """Of the line through the second half, by least squares."""
    half = samples[len(samples) // 2 :]
    if len(half) < 2:
        return 0.0
    mean_x, mean_y = (sum(values) / len(half) for values in zip(*half, strict=True))
    spread = sum((x - mean_x) ** 2 for x, _ in half)
    return sum((x - mean_x) * (y - mean_y) for x, y in half) / spread if spread else 0.0


class Memory(threading.Thread):
    """RSS of the web's worker processes, in MB, every second."""

    def __init__(self, master: psutil.Process) -> None:
        super().__init__(daemon=True)
        self.master, self.samples, self.is_over = master, [], threading.Event()

    def run(self) -> None:
        while not self.is_over.wait(SAMPLE_SECONDS):
            rss = sum(child.memory_info().rss for child in self.master.children())
            self.samples.append((time.monotonic() / 60, rss / 1e6))


def processor_seconds(master: psutil.Process) -> float:
    return sum(sum(child.cpu_times()[:2]) for child in master.children())


def report(clients: list[Client], elapsed: float, samples: list[tuple[float, float]], worked: float) -> bool:
    together: dict[str, list[float]] = defaultdict(list)
    for client in clients:
        for name, seconds in client.seconds.items():
            together[name] += seconds
            together[DAY[name][0]] += seconds
    print("| request | n | p50, ms | p99 | max |\n|---|---|---|---|---|")
    for name in (*DAY, READ, WRITE):
        print(row(f"**all {name}s**" if name in (READ, WRITE) else name, together[name]))
    errors = sum((client.errors for client in clients), Counter())
    count = len(together[READ]) + len(together[WRITE])
    rate = count / elapsed
    print(f"\n{len(clients)} clients, {elapsed:.0f} s: {rate:.0f} requests/s, {sum(errors.values())} errors.")
    print(f"Processor time of the web processes: {worked / max(count, 1) * 1e3:.1f} ms a request.")
    for failure, times in errors.most_common(5):
        print(f"- {times} times {failure}")
    if samples:
        first, last, change = samples[0][1], samples[-1][1], slope(samples)
        print(f"Web processes together: {first:.0f} MB, then {last:.0f} MB; {change:+.1f} MB a minute at the end.")
        minutes = {int(minute - samples[0][0]): size for minute, size in samples}
        print(f"At the end of each minute, MB: {' '.join(f'{size:.0f}' for size in minutes.values())}.")
    return quantile(together[READ], 0.99) < TARGET_P99 and not errors


@contextmanager
def seeded_plane(rows: int) -> Iterator[tuple[Any, str, dict[str, Any]]]:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "controlplane.settings")
    with tempfile.TemporaryDirectory(prefix="bench-load-") as folder:
        os.environ["PLANE_HOME"] = folder
        from tests.faults.console import Console
        from tests.faults.homes import prepare_home
        from tests.faults.running import Running, environment_of

        names = ("DATABASE_URL", "WEB_WORKERS", "WEB_THREADS")
        more = {"WEB_THREADS": "64", **{name: os.environ[name] for name in names if name in os.environ}}
        environment = environment_of(Path(folder), DISPATCH_SECONDS="1", LEASE_SECONDS="30", **more)
        prepare_home(environment, accounts=False)
        token = "dso_" + secrets.token_urlsafe(24)
        console = Console(environment)
        facts = json.loads(console.run(SEED.replace("ROWS", str(rows)).replace("TOKEN", token)))
        console.close()
        running = Running(Path(folder), environment, token)
        try:
            yield running, token, facts
        finally:
            running.stop()
            running.kill_everything()


def stop(number: int, frame: object) -> None:
    sys.exit(128 + number)  # through the `finally` that ends the plane


def main() -> None:
    signal.signal(signal.SIGTERM, stop)
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clients", type=int, default=30)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--pause", type=float, default=1.0)
    parser.add_argument("--rows", type=int, default=200)
    parser.add_argument("--assert", dest="must_hold", action="store_true")
    options = parser.parse_args()
    with seeded_plane(options.rows) as (running, token, facts):
        address = running.facts()["address"]
        clients = [
            Client(address, token, facts["session"], facts, random.Random(number)) for number in range(options.clients)
        ]
        for client in clients[:4]:  # templates and statements are compiled once
            work(client, time.monotonic() + 2, 0)
            client.seconds.clear()
        memory = Memory(running.part("web"))
        memory.start()
        began, before = time.monotonic(), processor_seconds(memory.master)
        threads = [
            threading.Thread(target=work, args=(client, began + options.seconds, options.pause)) for client in clients
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        memory.is_over.set()
        worked = processor_seconds(memory.master) - before
        is_good = report(clients, time.monotonic() - began, memory.samples, worked)
    sys.exit(0 if is_good or not options.must_hold else 1)


if __name__ == "__main__":
    main()
