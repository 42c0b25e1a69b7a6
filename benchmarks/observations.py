"""How many observations a second the plane takes by REST, beside plain inserts into a table of the same keys.

    python benchmarks/observations.py [--rows 10000] [--batch 2000] [--rounds 3]

Starts a plane on SQLite. In alternating rounds one client sends `rows` predictions and then their labels over one
connection; and sqlite3 inserts as many rows, with the same JSON as their payload, into a table with the same unique
key, a commit for each batch, with the plane's own pragmas. What the plane does besides: it validates every field,
refuses what contradicts, joins labels, counts figures, and writes an audit record for each batch. Prints the rates, the
time of the processor in the web processes for a thousand rows, and the ratio. The same on a plane that holds the rows
of the rounds before: how the rate goes with the table.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import secrets
import sqlite3
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

PRAGMAS = "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL"
TABLE = "CREATE TABLE rows (id INTEGER PRIMARY KEY, source INTEGER, key TEXT, payload TEXT, UNIQUE (source, key))"
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
ObservationSource.objects.create(project=project, name="bench", task="regression", created_by="bench")
ApiToken.objects.create(project=project, user=User.objects.get(username="engineer"), name="bench", prefix="dso_",
    digest=sha256_hex("TOKEN"), expires_at=timezone.now() + timedelta(days=1), scopes=["read", "observations:write"])
print(version.model.name, version.number)
"""


def build_rows(model: str, version: int, count: int) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Predictions with five features, and their labels."""
    at, mark = datetime.now(UTC).isoformat(), secrets.token_hex(6)
    features = {"lag_1": 57.1, "lag_2": 57.3, "lag_3": 56.9, "month": 11, "weekday": "sun"}
    facts = {"at": at, "model": model, "version": version, "variant": "int8", "features": features, "latency_ms": 1.8}
    predictions = [{"id": f"{mark}-{n}", "answer": 50 + n % 17, **facts} for n in range(count)]
    return predictions, [{"id": row["id"], "at": at, "label": 55.5} for row in predictions]


def split(rows: Sequence[Any], size: int) -> Iterator[Sequence[Any]]:
    for start in range(0, len(rows), size):
        yield rows[start : start + size]


class Sender:
    """One connection to the plane."""

    def __init__(self, address: str, token: str) -> None:
        where = urlsplit(address)
        self.connection = http.client.HTTPConnection(where.hostname or "", where.port, timeout=120)
        self.headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}

    def send(self, name: str, rows: Sequence[Any]) -> None:
        body = json.dumps({"source": "bench", "rows": list(rows)})
        self.connection.request("POST", f"/api/v1/projects/demo/observations/{name}", body, self.headers)
        answer = self.connection.getresponse()
        text = answer.read()
        if answer.status != 200 or json.loads(text)["stored"] != len(rows):
            raise SystemExit(f"{answer.status}: {text[:500]!r}")

    def measure(self, name: str, rows: Sequence[Any], batch: int) -> float:
        started = time.perf_counter()
        for part in split(rows, batch):
            self.send(name, part)
        return len(rows) / (time.perf_counter() - started)


def measure_inserts(path: Path, rows: Sequence[Any], batch: int) -> float:
    connection = sqlite3.connect(path)
    connection.executescript(PRAGMAS)
    if not connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'rows'").fetchone():
        connection.execute(TABLE)
    started = time.perf_counter()
    for part in split(rows, batch):
        values = [(1, row["id"], json.dumps(row)) for row in part]
        connection.executemany("INSERT INTO rows (source, key, payload) VALUES (?, ?, ?)", values)
        connection.commit()
    rate = len(rows) / (time.perf_counter() - started)
    connection.close()
    return rate


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=10_000)
    parser.add_argument("--batch", type=int, default=2_000)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "controlplane.settings")
    with tempfile.TemporaryDirectory(prefix="bench-observations-") as folder:
        os.environ["PLANE_HOME"] = folder
        from tests.faults.console import Console
        from tests.faults.homes import prepare_home
        from tests.faults.running import Running, environment_of

        environment = environment_of(Path(folder), DISPATCH_SECONDS="1", LEASE_SECONDS="30")
        prepare_home(environment, accounts=False)
        token = "dso_" + secrets.token_urlsafe(24)
        console = Console(environment)
        model, number = console.run(SEED.replace("TOKEN", token)).split()
        console.close()
        running = Running(Path(folder), environment, token)
        try:
            measure(options, running, token, model, int(number), Path(folder))
        finally:
            running.stop()
            running.kill_everything()


def measure(options: argparse.Namespace, running: Any, token: str, model: str, number: int, folder: Path) -> None:
    sender = Sender(running.facts()["address"], token)
    master = running.part("web")
    rates: dict[str, list[float]] = {"predictions": [], "labels": [], "inserts": []}
    worked = 0.0
    print("| round | predictions/s | labels/s | plain inserts/s |\n|---|---|---|---|")
    sender.send("predictions", build_rows(model, number, 10)[0])  # the first request loads modules
    for place in range(options.rounds):
        predictions, labels = build_rows(model, number, options.rows)
        before = sum_processor_seconds(master)
        rates["predictions"].append(sender.measure("predictions", predictions, options.batch))
        rates["labels"].append(sender.measure("labels", labels, options.batch))
        worked += sum_processor_seconds(master) - before
        rates["inserts"].append(measure_inserts(folder / "plain.sqlite3", predictions, options.batch))
        print(f"| {place + 1} | " + " | ".join(f"{values[-1]:,.0f}" for values in rates.values()) + " |", flush=True)
    middle = {name: statistics.median(values) for name, values in rates.items()}
    thousands = 2 * options.rows * options.rounds / 1000
    print(f"\nThe web processes worked {worked / thousands * 1000:.0f} ms for a thousand rows.")
    print(f"of plain inserts, predictions: {middle['predictions'] / middle['inserts']:.3f}")
    print(f"of plain inserts, labels: {middle['labels'] / middle['inserts']:.3f}")


def sum_processor_seconds(master: Any) -> float:
    return sum(sum(process.cpu_times()[:2]) for process in [master, *master.children()])


if __name__ == "__main__":
    main()
