"""What every page and endpoint costs, and how that grows with the tables; and what the web processes weigh.

    python benchmarks/web.py [--rows 200] [--rounds 20]                              SQLite
    DATABASE_URL=postgres://user@host/any python benchmarks/web.py                   PostgreSQL, a database of its own

In this process, by Django's test client: every address of the URL resolver that answers a GET (tests/walking.py names
those left out), with `rows` jobs, events, datasets, versions, artifacts, edges and audit records, then with ten times
as many. What people make by hand (people, projects, tokens, nodes, the slots of one job, the files of one version)
stays at WIDE; that its growth costs no query is what tests/test_queries.py asserts. Then a plane with 2 web processes
is started on the ten times as many, and its memory read at rest and after 200 requests.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "controlplane.settings")

Costs = dict[str, tuple[int, float]]  # route -> (queries, ms)
REQUESTS = 200
WIDE = 20


@contextmanager
def place_of_our_own() -> Iterator[Path]:
    """A fresh home, and on PostgreSQL a fresh database; both gone afterwards."""
    home = Path(tempfile.mkdtemp(prefix="bench-web-"))
    os.environ.update(PLANE_HOME=str(home), LOG_LEVEL="ERROR")
    url, name = os.environ.get("DATABASE_URL", ""), f"web_bench_{os.getpid()}"
    try:
        if not url:
            yield home
            return
        import psycopg

        server = url.rsplit("/", 1)[0]
        with psycopg.connect(f"{server}/postgres", autocommit=True) as admin:
            admin.execute(f"CREATE DATABASE {name}")
            os.environ["DATABASE_URL"] = f"{server}/{name}"
            try:
                yield home
            finally:
                admin.execute(f"DROP DATABASE {name} WITH (FORCE)")
    finally:
        shutil.rmtree(home, ignore_errors=True)


# -- queries and time -----------------------------------------------------------------------------------------------
def measure(plane, people, rounds: int) -> tuple[Costs, dict[str, str]]:
    """What each address costs, and why the others are not in the table."""
    from django.db import connection
    from django.test.utils import CaptureQueriesContext

    from tests import walking

    # SQLite runs in this process, so its CPU time is all of it, and other work on the machine does not count.
    clock = time.process_time if connection.vendor == "sqlite" else time.perf_counter
    costs: Costs = {}
    absent: dict[str, str] = {}
    for route in walking.routes():
        reason = walking.left_out(route)
        where = "" if reason else walking.address(route, plane)
        visitor, status = (None, 0) if reason else walking.who_may(where, people)
        if visitor is None:
            absent[route] = reason or ("takes no GET" if status == 405 else f"answers {status}")
            continue
        with CaptureQueriesContext(connection) as seen:
            visitor.get(where)
        queries, times = len(seen), []  # now: the next request empties the log
        for _ in range(rounds):
            started = clock()
            visitor.get(where)
            times.append((clock() - started) * 1e3)
        costs[route] = (queries, statistics.median(times))
    return costs, absent


def analyze() -> None:
    """What time and autovacuum do to a plane that runs: the planner knows the tables."""
    from django.db import connection

    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute("VACUUM ANALYZE")


def table(few: Costs, many: Costs) -> None:
    print("| address | queries | ms | queries at 10x | ms ratio |\n|---|---|---|---|---|")
    for route, (queries, ms) in few.items():
        more, slower = many[route]
        print(f"| `/{route}` | {queries} | {ms:.1f} | {more} | {slower / ms:.2f} |")


# -- memory ---------------------------------------------------------------------------------------------------------
def weigh(home: Path, paths: list[tuple[str, str]]) -> None:
    """RSS, PSS and USS of gunicorn's master and its workers, in MB, at rest and after REQUESTS requests."""
    from tests.faults.running import Running, environment_of

    more = {name: os.environ[name] for name in ("DATABASE_URL",) if name in os.environ}
    running = Running(home, environment_of(home, NODE_NAME="bench", WEB_THREADS="64", DISPATCH_SECONDS="1", **more), "")
    try:
        time.sleep(3)  # a worker that is still importing is not at rest
        master = running.part("web")
        processes = [master, *master.children()]
        before = [weight(process) for process in processes]
        for number in range(REQUESTS):
            path, cookie = paths[number % len(paths)]
            ask(running.facts()["address"] + path, cookie)
        after = [weight(process) for process in processes]
    finally:
        running.stop()
        running.kill_everything()
    print(
        "| process | RSS at rest, MB | PSS | USS | RSS after 200 requests | PSS | USS |\n|---|---|---|---|---|---|---|"
    )
    for index, (first, then) in enumerate(zip(before, after, strict=True)):
        name = "master" if index == 0 else f"web {index}"
        print(f"| {name} | " + " | ".join(f"{value / 1e6:.1f}" for value in (*first, *then)) + " |")


def weight(process: psutil.Process) -> tuple[int, int, int]:
    found = process.memory_full_info()
    return found.rss, found.pss, found.uss


def ask(address: str, cookie: str) -> None:
    import urllib.request

    with urllib.request.urlopen(urllib.request.Request(address, headers={"Cookie": cookie})) as answer:
        answer.read()


def addresses_and_cookies(costs: Costs, plane, people) -> list[tuple[str, str]]:
    """Every address of the table, with the session of somebody whom it answers."""
    from tests import walking

    found = []
    for route in costs:
        where = walking.address(route, plane)
        visitor, status = walking.who_may(where, people)
        if visitor and status == 200:
            found.append((where, f"sessionid={visitor.client.cookies['sessionid'].value}"))
    return found


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=20)
    asked = parser.parse_args()
    with place_of_our_own() as home:
        import django

        django.setup()
        from django.core.management import call_command
        from django.db import connections

        from tests import walking

        call_command("migrate", verbosity=0)
        plane = walking.first_rows()
        walking.grow(plane, asked.rows, wide=WIDE)
        analyze()
        people = walking.visitors()
        few, absent = measure(plane, people, asked.rounds)
        walking.grow(plane, asked.rows * 10, wide=WIDE)
        analyze()
        many, _ = measure(plane, people, asked.rounds)
        table(few, many)
        for why in dict.fromkeys(absent.values()):
            routes = [f"`/{route}`" for route, reason in absent.items() if reason == why]
            print(f"\nLeft out, {why}: {', '.join(routes)}.")
        print()
        paths = addresses_and_cookies(many, plane, people)
        connections.close_all()
        weigh(home, paths)


if __name__ == "__main__":
    main()
