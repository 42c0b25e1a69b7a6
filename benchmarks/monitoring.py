"""How many observations a minute the plane takes, how long an evaluation of ten million takes, and the monitor's page.

    python benchmarks/monitoring.py [ingest] [evaluation] [page] [--rows 40000] [--senders 2] [--rounds 3]

`ingest`: a plane on SQLite with the file broker, and one on PostgreSQL with Redis. In alternating rounds `senders`
processes, each with a source of its own, send `rows` predictions of five features in batches of 4,000 and then their
labels; and one process inserts as many rows, with the same JSON, into a table with the same unique key, a commit for
each batch, in the same database. Prints the rates, their ratio, and the processor's time for a row: where other work
runs beside it, that is the figure to look at.
"""

from __future__ import annotations

import argparse
import json
import os
import secrets
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

BATCH = 4_000
MILLION_A_MINUTE = 1_000_000 / 60
PRAGMAS = "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL"
TABLE = "CREATE TABLE bare (id {key}, source INTEGER, key TEXT, payload TEXT, UNIQUE (source, key))"
SEED = """
from datetime import timedelta
from django.utils import timezone
from apps.core.canonical import sha256_hex
from apps.ml.observations.models import ObservationSource
from apps.ml.registry.models import ModelVersion
from apps.platform.accounts.models import ApiToken, Project, User
from tests import walking
plane = walking.first_rows()
project = Project.objects.get(slug="demo")
version = ModelVersion.objects.select_related("model").get(pk=plane.model_version)
for number in range(SENDERS):
    ObservationSource.objects.create(project=project, name=f"bench-{number}", task="regression", created_by="bench")
ApiToken.objects.create(project=project, user=User.objects.get(username="engineer"), name="bench", prefix="dso_",
    digest=sha256_hex("TOKEN"), expires_at=timezone.now() + timedelta(days=1), scopes=["read", "observations:write"])
print(version.model.name, version.number)
"""
SENDER = """
import http.client, json, sys, time
address, port, token = sys.argv[1:4]
connection = http.client.HTTPConnection(address, int(port), timeout=120)
headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
for line in sys.stdin:
    paths = json.loads(line)
    bodies = [(name, open(path, "rb").read()) for name, path in paths]
    start = time.perf_counter()
    for name, body in bodies:
        connection.request("POST", f"/api/v1/projects/demo/observations/{name}", body, headers)
        answer = connection.getresponse()
        text = answer.read()
        if answer.status != 200 or json.loads(text)["stored"] == 0:
            raise SystemExit(f"{answer.status}: {text[:500]!r}")
    print(time.perf_counter() - start, flush=True)
"""


def build_rows(model: str, version: int, count: int) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Predictions with five features, 20 ms apart, and their labels."""
    now, mark = datetime.now(UTC), secrets.token_hex(6)
    facts = {"model": model, "version": version, "variant": "int8", "latency_ms": 1.8}
    predictions, labels = [], []
    for number in range(count):
        at = (now - timedelta(milliseconds=20 * number)).isoformat()
        features = {"lag_1": 50 + number % 170 / 10, "lag_2": 57.3, "lag_3": 56.9, "month": 11, "weekday": "sun"}
        key = f"{mark}-{number}"
        predictions.append({"id": key, "at": at, "answer": 50 + number % 17, "features": features, **facts})
        labels.append({"id": key, "at": at, "label": 55.5})
    return predictions, labels


class Senders:
    """Processes with one connection each, which send files of bodies: what they do costs a round next to nothing."""

    def __init__(self, folder: Path, address: str, token: str, count: int) -> None:
        host, port = address.removeprefix("http://").split(":")
        command = [sys.executable, "-c", SENDER, host, port.rstrip("/"), token]
        self.folder = folder
        self.processes = [
            subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(count)
        ]

    def write_bodies(self, name: str, sender: int, rows: Sequence[Any]) -> list[tuple[str, str]]:
        paths = []
        for start in range(0, len(rows), BATCH):
            path = self.folder / f"{name}-{sender}-{start}.json"
            path.write_text(json.dumps({"source": f"bench-{sender}", "rows": rows[start : start + BATCH]}))
            paths.append((name, str(path)))
        return paths

    def send(self, bodies: Sequence[Sequence[tuple[str, str]]]) -> float:
        """Seconds until the last has sent its own."""
        for process, paths in zip(self.processes, bodies, strict=True):
            process.stdin.write(json.dumps(paths) + "\n")
            process.stdin.flush()
        return max(float(process.stdout.readline()) for process in self.processes)

    def close(self) -> None:
        for process in self.processes:
            process.kill()
            process.communicate()


def open_bare_table(mode: str, folder: Path, url: str) -> tuple[Any, str, str]:
    """(connection, INSERT, the sign of a parameter) of a table beside the plane's own."""
    if mode == "sqlite":
        connection: Any = sqlite3.connect(folder / "bare.sqlite3")
        connection.executescript(PRAGMAS)
        connection.execute(TABLE.format(key="INTEGER PRIMARY KEY"))
        return connection, "INSERT INTO bare (source, key, payload) VALUES (?, ?, ?)", "?"
    import psycopg

    connection = psycopg.connect(url)
    connection.execute(TABLE.format(key="BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY"))
    connection.commit()
    return connection, "INSERT INTO bare (source, key, payload) VALUES (%s, %s, %s)", "%s"


def insert_bare(connection: Any, sql: str, rows: Sequence[dict[str, Any]]) -> float:
    start = time.perf_counter()
    cursor = connection.cursor()
    for place in range(0, len(rows), BATCH):
        cursor.executemany(sql, [(1, row["id"], json.dumps(row)) for row in rows[place : place + BATCH]])
        connection.commit()
    return time.perf_counter() - start


def sum_processor_seconds(processes: Sequence[Any]) -> float:
    import psutil

    total = 0.0
    for process in processes:
        for each in [process, *process.children(recursive=True)]:
            try:
                total += sum(each.cpu_times()[:2])
            except psutil.NoSuchProcess:
                continue
    return total


def measure_ingest(mode: str, options: argparse.Namespace) -> None:
    import psutil

    from tests.faults.console import Console
    from tests.faults.homes import prepare_home
    from tests.faults.running import Running, environment_of
    from tests.faults.services import Postgres, Redis

    with tempfile.TemporaryDirectory(prefix="bench-monitoring-") as place:
        folder = Path(place)
        postgres = Postgres() if mode == "postgresql" else None
        redis = Redis(folder / "redis") if postgres else None
        services = {"DATABASE_URL": postgres.url("postgres"), "BROKER_URL": redis.url(0)} if postgres and redis else {}
        environment = environment_of(folder, DISPATCH_SECONDS="1", LEASE_SECONDS="30", **services)
        running = senders = None
        try:
            prepare_home(environment, accounts=False)
            token = "dso_" + secrets.token_urlsafe(24)
            console = Console(environment)
            model, number = console.run(SEED.replace("TOKEN", token).replace("SENDERS", str(options.senders))).split()
            console.close()
            running = Running(folder, environment, token)
            senders = Senders(folder, running.facts()["address"], token, options.senders)
            servers = [running.part("web"), *([psutil.Process(postgres.process.pid)] if postgres else [])]
            bare = open_bare_table(mode, folder, services.get("DATABASE_URL", ""))[:2]
            measure_rounds(mode, options, senders, servers, bare, model, int(number))
        finally:
            if senders:
                senders.close()
            if running:
                running.stop()
                running.kill_everything()
            if redis:
                redis.stop(hard=True)
            if postgres:
                postgres.remove()


def measure_rounds(
    mode: str,
    options: argparse.Namespace,
    senders: Senders,
    servers: Sequence[Any],
    bare: tuple[Any, str],
    model: str,
    version: int,
) -> None:
    warm = [build_rows(model, version, 200) for _ in senders.processes]
    senders.send([senders.write_bodies("predictions", place, rows[0]) for place, rows in enumerate(warm)])
    rates: dict[str, list[float]] = {"predictions": [], "labels": [], "bare": []}
    worked = dict.fromkeys(rates, 0.0)
    print(f"\n{mode}\n\n| round | predictions/s | labels/s | bare inserts/s |\n|---|---|---|---|")
    count = options.rows // options.senders
    for place in range(options.rounds):
        rows = [build_rows(model, version, count) for _ in senders.processes]
        for column, name in enumerate(("predictions", "labels")):
            bodies = [senders.write_bodies(name, sender, pair[column]) for sender, pair in enumerate(rows)]
            before = sum_processor_seconds(servers)
            rates[name].append(count * options.senders / senders.send(bodies))
            worked[name] += sum_processor_seconds(servers) - before
        before, own = sum_processor_seconds(servers[1:]), time.process_time()
        everything = [row for pair in rows for row in pair[0]]
        rates["bare"].append(len(everything) / insert_bare(*bare, everything))
        worked["bare"] += time.process_time() - own + sum_processor_seconds(servers[1:]) - before
        print(f"| {place + 1} | " + " | ".join(f"{values[-1]:,.0f}" for values in rates.values()) + " |", flush=True)
    middle = {name: statistics.median(values) for name, values in rates.items()}
    all_rows = count * options.senders * options.rounds
    print(f"\nload average {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores\n")
    print("| of | a minute | of a million | of bare inserts | processor, us a row |\n|---|---|---|---|---|")
    for name, rate in middle.items():
        processor = worked[name] / all_rows * 1e6
        shares = f"{rate / MILLION_A_MINUTE:.2f} | {rate / middle['bare']:.2f}"
        print(f"| {name} | {60 * rate:,.0f} | {shares} | {processor:.0f} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("parts", nargs="*", default=[])
    parser.add_argument("--rows", type=int, default=40_000)
    parser.add_argument("--senders", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--modes", default="sqlite,postgresql")
    options = parser.parse_args()
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "controlplane.settings")
    with tempfile.TemporaryDirectory(prefix="bench-monitoring-") as home:
        os.environ.setdefault("PLANE_HOME", home)
        if not options.parts or "ingest" in options.parts:
            for mode in options.modes.split(","):
                measure_ingest(mode, options)


if __name__ == "__main__":
    main()
