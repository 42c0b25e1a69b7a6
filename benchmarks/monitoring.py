"""How many observations a minute the plane takes, how long an evaluation of ten million takes, and the monitor's page.

    python benchmarks/monitoring.py [ingest] [evaluation] [page] [--rows 40000] [--senders 2] [--rounds 3]

`ingest`: a plane on SQLite with the file broker, and one on PostgreSQL with Redis. In alternating rounds `senders`
processes, each with a source of its own, send `rows` predictions of five features in batches of 4,000 and then their
labels; and one process inserts as many rows, with the same JSON, into a table with the same unique key, a commit for
each batch, in the same database. Prints the rates, their ratio, and the processor's time for a row: where other work
runs beside it, that is the figure to look at.

`evaluation`: a monitor whose window of 168 hours has 10,080,000 predictions of 10 sources, 20 features each. Prints the
seconds of the metric with its interval, of the drift of all features with the detectors on the errors, and the peak of
the process's memory. `page`: the monitor's page over the same, after 30 days of windows, through Django's client.
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


SOURCES, HOURS, ROWS_PER_HOUR, FEATURES = 10, 168, 6_000, 20


def seed_monitor() -> Any:
    """A monitor whose last window has ten million predictions, with 30 days of windows before it."""
    import numpy as np
    import pyarrow as pa

    from apps.core.actors import PlaneRole, build_plane_actor
    from apps.fleet.monitoring.models import DriftWindow, Monitor, Window
    from apps.ml.observations.models import ClassCount, FeatureProfile, HourFigures, ObservationSource
    from apps.ml.observations.services import store_feature_reference
    from apps.ml.observations.services.batches import floor_hour
    from apps.ml.registry.models import ModelVersion
    from apps.platform.accounts.models import Project
    from deepseek.drift.profile import Profile, build_reference
    from tests import walking

    plane, random = walking.first_rows(), np.random.default_rng(1)
    project = Project.objects.get(slug="demo")
    version = ModelVersion.objects.select_related("model").get(pk=plane.model_version)
    colours = ["red", "green", "blue"]

    def draw(rows: int, shift: float) -> pa.Table:
        numbers = {f"sensor_{n}": random.normal(shift * (n == 3), 1, rows) for n in range(FEATURES - 2)}
        more = [*colours, "black"] if shift else colours
        return pa.table({**numbers, "colour": random.choice(more, rows), "line": random.choice(["a", "b"], rows)})

    layout, profile = build_reference(draw(50_000, 0.0))
    facts = {"layout": layout.to_dict(), "layout_digest": layout.digest, "profile": profile.to_dict()}
    store_feature_reference(actor=build_plane_actor(PlaneRole.WORKER), version=version, report="r" * 64, **facts)
    texts = []
    for shift in (0.0, 0.0, 0.0, 0.8):
        hour_profile = Profile(layout)
        hour_profile.update(draw(ROWS_PER_HOUR, shift))
        texts.append(json.dumps(hour_profile.to_dict()))
    last = floor_hour(datetime.now(UTC))
    sources = ObservationSource.objects.bulk_create(
        ObservationSource(project=project, name=f"press-{n}", task="classification", created_by="bench")
        for n in range(SOURCES)
    )
    right = [int(ROWS_PER_HOUR * (0.93 - 0.006 * n)) for n in range(SOURCES)]
    hours = [last - timedelta(hours=n + 1) for n in range(HOURS)]
    figures = HourFigures.objects.bulk_create(
        HourFigures(
            source=source,
            version=version,
            variant="fp32",
            is_shadow=False,
            hour=hour,
            predictions=ROWS_PER_HOUR,
            labelled=ROWS_PER_HOUR,
            scored=ROWS_PER_HOUR,
            correct=right[n] - (300 if number < 12 else 0),
        )
        for n, source in enumerate(sources)
        for number, hour in enumerate(hours)
    )
    ClassCount.objects.bulk_create(
        ClassCount(figures=row, name=name, predicted=3_000, labelled=3_000, correct=row.correct // 2)
        for row in figures
        for name in ("up", "down")
    )
    FeatureProfile.objects.bulk_create(
        FeatureProfile(
            source=row.source,
            version=version,
            hour=row.hour,
            part_key=-row.pk,
            layout_digest=layout.digest,
            rows=ROWS_PER_HOUR,
            profile=texts[number % 3 if row.source_id != sources[-1].pk else 3],
        )
        for number, row in enumerate(figures)
    )
    monitor = Monitor.objects.create(
        project=project,
        name="presses, accuracy",
        model=version.model,
        metric="accuracy",
        reference=0.93,
        window_hours=HOURS,
        watched_from=last - timedelta(hours=1),
        evaluated_until=last - timedelta(hours=1),
        next_at=last,
        grant={},
        created_by="engineer",
    )
    Window.objects.bulk_create(
        Window(
            monitor=monitor,
            until=last - timedelta(hours=n),
            verdict="good" if n > 10 else "worse",
            predictions=1000,
            count=1000,
            value=0.92 + 0.01 * np.sin(n / 9) - (0.05 if n < 11 else 0),
            low=0.90 + 0.01 * np.sin(n / 9) - (0.05 if n < 11 else 0),
            high=0.94 + 0.01 * np.sin(n / 9) - (0.05 if n < 11 else 0),
            reference=0.93,
            line=0.8835,
            version=version,
        )
        for n in range(1, 24 * 30)
    )
    assert not DriftWindow.objects.exists()
    return monitor


def measure_evaluation(monitor: Any) -> None:
    import resource

    from apps.core.actors import PlaneRole, build_plane_actor
    from apps.fleet.monitoring.services.evaluating import evaluate_window
    from workers.monitoring import drift

    worker, dispatcher = build_plane_actor(PlaneRole.WORKER), build_plane_actor(PlaneRole.DISPATCHER)
    until = monitor.evaluated_until + timedelta(hours=1)

    def measure(work: Any) -> tuple[float, float, Any]:
        start, own = time.perf_counter(), time.process_time()
        done = work()
        return time.perf_counter() - start, time.process_time() - own, done

    metric = measure(lambda: evaluate_window(dispatcher, monitor, until, datetime.now(UTC)))
    now = until + timedelta(minutes=20)
    plan = next(iter(drift.monitoring.list_due_drift(actor=worker, now=now)))
    computed = measure(lambda: drift.compute_drift(plan))
    window = drift.monitoring.record_drift(actor=worker, plan=plan, result=computed[2], now=now)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"\nevaluation of {window.rows:,} predictions, load average {os.getloadavg()[0]:.1f}\n")
    print("| of | s | s of the processor |\n|---|---|---|")
    print(f"| accuracy and its slices by version | {metric[0]:.2f} | {metric[1]:.2f} |")
    print(f"| drift of {FEATURES} features by {SOURCES} sources, ADWIN, risk | {computed[0]:.2f} | {computed[1]:.2f} |")
    print(f"\npeak memory of the process {peak:.0f} MB; verdict {window.verdict}, {window.drifted} features drifted")


def measure_page(monitor: Any) -> None:
    from django.conf import settings

    from tests import walking

    settings.ALLOWED_HOSTS = ["*"]
    client = next(each.client for each in walking.visitors() if each.name == "engineer")
    seconds, own = [], []
    (settings.PLANE_HOME / "cookie").write_text(client.cookies[settings.SESSION_COOKIE_NAME].value)
    for period in ("30d", "7d") * 8:
        start, before = time.perf_counter(), time.process_time()
        answer = client.get(f"/p/demo/monitors/{monitor.pk}?period={period}")
        seconds.append(time.perf_counter() - start)
        own.append(time.process_time() - before)
        assert answer.status_code == 200, answer.status_code
    print(
        f"\npage of the monitor: median {1000 * statistics.median(seconds[2:]):.0f} ms, "
        f"{1000 * statistics.median(own[2:]):.0f} ms of the processor, load average {os.getloadavg()[0]:.1f}"
    )


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("parts", nargs="*", default=[])
    parser.add_argument("--rows", type=int, default=40_000)
    parser.add_argument("--senders", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--modes", default="sqlite,postgresql")
    parser.add_argument("--home", help="A folder in which the plane of the evaluation stays.")
    options = parser.parse_args()
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "controlplane.settings")
    with tempfile.TemporaryDirectory(prefix="bench-monitoring-") as home:
        os.environ.setdefault("PLANE_HOME", home)
        if not options.parts or {"evaluation", "page"} & set(options.parts):
            folder = Path(options.home or home) / "plane"
            folder.mkdir()
            os.environ["PLANE_HOME"] = str(folder)  # before anything reads the settings
            from tests.faults.homes import prepare_home
            from tests.faults.running import environment_of

            environment = environment_of(folder, DISPATCH_SECONDS="1", LEASE_SECONDS="30")
            prepare_home(environment, accounts=False)
            os.environ.update(environment)
            import django

            django.setup()
            monitor = seed_monitor()
            measure_evaluation(monitor)
            measure_page(monitor)
        if not options.parts or "ingest" in options.parts:
            for mode in options.modes.split(","):
                measure_ingest(mode, options)


if __name__ == "__main__":
    main()
