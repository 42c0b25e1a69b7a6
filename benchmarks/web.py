"""What every page and endpoint costs, and how that grows with the tables; and what the web processes weigh.

    python benchmarks/web.py [--rows 100] [--rounds 5] [--all] [--memory]            SQLite
    python -m tests.services python benchmarks/web.py                                PostgreSQL, a database of its own

In this process, by Django's test client: every address of the URL resolver that answers a GET (tests/walking.py names
those left out), a page as each of its visitors who may see it, an endpoint as the first of them. First with `rows` of
each table, then with ten times as many (GROWTH names the tables that are longer: jobs, the audit trail, nested runs).
What people make by hand (people, projects, tokens, nodes, the slots of one job, the files of one version) stays at
WIDE; that its growth costs no query is what tests/test_queries.py asserts. Prints what is beyond the limits and the
NEAREST to them; `--all` prints every address. `--memory` starts a plane with 2 web processes on the larger tables, and
reads its memory at rest and after 200 requests.
"""

from __future__ import annotations

import argparse
import gc
import logging
import os
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import psutil

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "controlplane.settings")

Costs = dict[tuple[str, str], tuple[int, float]]  # (route, visitor) -> (queries, ms of the processor)
REQUESTS = 200
WIDE = 20
QUERIES, MILLISECONDS = 20, 150  # what a page may cost
REPEATS = 4  # of what is over, at most
NEAREST = 15  # pages to each limit that are printed
GROWTH = {"jobs": 10, "audit records": 100, "nested runs": 10}  # times `rows`
RUNS = "/p/demo/runs"
# What pages show only where they are asked for it; {parent} has the nested runs, {a} and {b} are in a circle.
ASKED = (
    f"{RUNS}?columns=run&columns=tags&columns=metrics.loss&columns=params.seed",
    f"{RUNS}?expand={{parent}}",
    f"{RUNS}?expand={{parent}}.40",
    f"{RUNS}?expand={{parent}}&columns=run,tags,params.seed,metrics.loss,dataset,model,by,started,took",
    f"{RUNS}?tree=off",
    f"{RUNS}?sort=metrics.loss",
    f"{RUNS}?filter=tags.`mlflow.parentRunId` = '{{parent}}'",
    f"{RUNS}?filter=metrics.loss < 100 AND params.seed = 'run 3'",
    f"{RUNS}?group=params.seed&measure=loss",
    f"{RUNS}?group=tags.mlflow.parentRunId&measure=loss",
    f"{RUNS}/{{parent}}",
    "/p/demo/jobs?state=failed",
    "/p/demo/jobs?sort=state",
    "/search?q=run",
    "/audit?action=job.running",
    "/audit?q=job",
)
PARENT, CIRCLE = "f" * 32, ("a" * 32, "b" * 32)  # ids of runs


@contextmanager
def place_of_our_own() -> Iterator[Path]:
    """A fresh home, and on PostgreSQL a fresh database; both gone afterwards."""
    home = Path(tempfile.mkdtemp(prefix="bench-web-"))
    os.environ.update(PLANE_HOME=str(home), LOG_LEVEL="ERROR", SECOND_FACTOR_ROLES="")
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


# -- rows -----------------------------------------------------------------------------------------------------------
def lengthen(plane, rows: int) -> None:
    """Bring the tables that are longest on a plane that has run for years to GROWTH times `rows`."""
    from apps.core.actors import PlaneRole, build_plane_actor
    from apps.platform.accounts.models import Project
    from apps.platform.audit.models import AuditRecord
    from apps.platform.audit.sealer import seal_all
    from apps.platform.audit.services import draft
    from apps.platform.jobs.models import Job
    from apps.platform.nodes.models import Node
    from tests import walking

    project, node, main = (
        Project.objects.get(slug="demo"),
        Node.objects.get(name="node-0"),
        Job.objects.get(pk=plane.job),
    )
    numbers = range(Job.objects.count(), rows * GROWTH["jobs"])
    states = walking.STATES
    Job.objects.bulk_create(
        (walking.job_of(project, states[n % len(states)] if n % 50 == 0 else "succeeded", n, node) for n in numbers),
        batch_size=1_000,
    )
    nest_runs(project, rows * GROWTH["nested runs"])
    actor = build_plane_actor(PlaneRole.WORKER, host="node-0")
    numbers = range(AuditRecord.objects.count(), rows * GROWTH["audit records"])
    told = (draft(actor=actor, action="job.running", obj=main, after={"attempt": number}) for number in numbers)
    AuditRecord.objects.bulk_create(told, batch_size=1_000)
    seal_all()


def nest_runs(project, count: int) -> None:
    """Runs in one parent with a metric, a param and a tag each, some started in the same second; and two runs that
    name each other as parents."""
    from datetime import timedelta

    from django.utils import timezone

    from apps.ml.experiments.keys import PARENT_TAG
    from apps.ml.experiments.models import Experiment, Metric, Run, RunParam, RunTag

    now, experiment = timezone.now(), Experiment.objects.get(project=project, number=0)
    facts = {"project": project, "experiment": experiment, "kind": "train", "state": "finished"}
    Run.objects.get_or_create(id=PARENT, defaults={**facts, "name": "study", "kind": ""})
    for one, other in (CIRCLE, CIRCLE[::-1]):
        Run.objects.get_or_create(id=one, defaults={**facts, "name": "circle", "kind": ""})
        RunTag.objects.get_or_create(run_id=one, key=PARENT_TAG, defaults={"value": other})
    values = {"project": project, "step": 0, "first_step": 0, "at": now, "count": 1, "digest": "0" * 64}
    values |= {"experiment": experiment, "started_at": now, "key": "loss"}
    numbers = range(RunTag.objects.filter(key=PARENT_TAG).count(), count)
    for first in range(numbers.start, numbers.stop, 1_000):
        chunk = range(first, min(first + 1_000, numbers.stop))
        at = {n: now - timedelta(seconds=n // 4) for n in chunk}
        runs = Run.objects.bulk_create(
            Run(id=f"e{n:031x}", name=f"trial {n}", **facts, started_at=at[n], ended_at=now) for n in chunk
        )
        RunTag.objects.bulk_create(RunTag(run=run, key=PARENT_TAG, value=PARENT) for run in runs)
        RunTag.objects.bulk_create(RunTag(run=run, key="team", value=f"team {n % 9}") for n, run in enumerate(runs))
        RunParam.objects.bulk_create(RunParam(run=run, key="seed", value=run.name) for run in runs)
        Metric.objects.bulk_create(Metric(run=run, value=float(n), **values) for n, run in enumerate(runs))


# -- queries and time -----------------------------------------------------------------------------------------------
def measure(plane, rounds: int) -> tuple[Costs, dict[str, str]]:
    """What each address costs each visitor, and why the others are not in the table."""
    from apps.platform.accounts import middleware
    from tests import walking

    costs: Costs = {}
    absent: dict[str, str] = {}
    people = walking.visitors()
    middleware.RENEW_SECONDS = 10**9  # a walk lasts longer than until a session is renewed
    gc.collect()
    gc.freeze()  # what the seed left: no web process has so much to look through
    places = {"parent": PARENT, "a": CIRCLE[0], "b": CIRCLE[1]}
    asked = [
        (route, "" if walking.left_out(route) else walking.address(route, plane))
        for route in walking.routes(of_gets=True)
    ]
    for route, where in [*asked, *((text.lstrip("/"), text.format(**places)) for text in ASKED)]:
        statuses = set()
        for visitor in people if where else ():
            status, _ = visitor.get(where)  # loads what is loaded once
            statuses.add(status)
            if status == 200:
                costs[route, visitor.name] = measure_address(visitor, where, rounds)
            if status == 405 or (status in (200, 302) and route.startswith("api/")):
                break
        if 200 not in statuses:
            reason = "takes no GET" if 405 in statuses else f"answers {', '.join(map(str, sorted(statuses)))}"
            absent[route] = walking.left_out(route) or reason
    return costs, absent


def measure_address(visitor, where: str, rounds: int) -> tuple[int, float]:
    """(queries, median ms of the processors) of one GET.

    What is over the limit is measured again and the lowest taken: other work on the machine makes it slower only.
    """
    from django.db import connection
    from django.test.utils import CaptureQueriesContext

    from apps.platform.nodes.models import Node

    Node.objects.update(heartbeat_at=datetime.now(UTC))  # a walk lasts longer than until a silent node is offline
    with CaptureQueriesContext(connection) as seen:
        visitor.get(where)
    queries, took = len(seen), []  # now: the next request empties the log
    for _ in range(1 + REPEATS):
        took.append(statistics.median(measure_request(visitor, where) for _ in range(rounds)))
        if took[-1] <= MILLISECONDS:
            break
    return queries, min(took)


def measure_request(visitor, where: str) -> float:
    """Milliseconds of one GET on the processors, of this process and of PostgreSQL's behind its connections.

    On a busy machine the clock tells how long a query waits for a processor, which is no cost of the page.
    """
    from django.db import connection

    from benchmarks.pages import processors

    clock = time.process_time if connection.vendor == "sqlite" else processors
    started = clock()
    visitor.get(where)
    return (clock() - started) * 1e3


def analyze() -> None:
    """What time and autovacuum do to a plane that runs: the planner knows the tables."""
    from django.db import connection

    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute("VACUUM ANALYZE")
            cursor.execute("SET max_parallel_workers_per_gather = 0")  # all work in the process that is measured


def print_table(few: Costs, many: Costs, everything: bool) -> None:
    """The addresses at both sizes, each as the visitor whom it costs most; without `everything` the dearest pages."""
    worst: dict[str, list[tuple[int, float, int, float]]] = {}
    for (route, visitor), cost in few.items():
        worst.setdefault(route, []).append((*cost, *many.get((route, visitor), (0, 0.0))))
    rows = {}
    for route, costs in worst.items():
        queries, ms = max(one[2] for one in costs), max(max(one[1], one[3]) for one in costs)
        first = max(costs, key=lambda one: max(one[1], one[3]))
        rows[route] = (max(one[0] for one in costs), queries, first[1], first[3], ms)
    pages = [route for route in rows if not route.startswith("api/")]
    over = [route for route in pages if rows[route][1] > QUERIES or rows[route][4] > MILLISECONDS]
    shown = {
        *sorted(pages, key=lambda one: -rows[one][1])[:NEAREST],
        *sorted(pages, key=lambda one: -rows[one][4])[:NEAREST],
    }
    print("| address | queries | at 10x | ms | at 10x | ratio |\n|---|---|---|---|---|---|")
    for route, (queries, more_queries, ms, more_ms, _worst) in rows.items():
        if everything or route in shown or route in over:
            print(f"| `/{route}` | {queries} | {more_queries} | {ms:.1f} | {more_ms:.1f} | {more_ms / ms:.2f} |")
    seen = sum(not route.startswith("api/") for route, _ in few)
    print(f"\n{len(pages)} pages, {seen} of them and a visitor, {len(rows) - len(pages)} endpoints.")
    print(f"Pages beyond {QUERIES} queries or {MILLISECONDS} ms: {len(over)}")
    print("\n".join(f"/{route}" for route in over))


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


def addresses_and_cookies(costs: Costs, plane) -> list[tuple[str, str]]:
    """Every address of the table, with the session of somebody whom it answers."""
    from tests import walking

    cookies = {visitor.name: visitor.client.cookies["sessionid"].value for visitor in walking.visitors()}
    known = set(walking.routes())
    return [
        (walking.address(route, plane), f"sessionid={cookies[visitor]}") for route, visitor in costs if route in known
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--all", action="store_true", help="print every address")
    parser.add_argument("--memory", action="store_true", help="weigh the web processes of a plane too")
    asked = parser.parse_args()
    with place_of_our_own() as home:
        import django

        django.setup()
        logging.disable(logging.WARNING)  # of refusals: each visitor asks for each address
        from django.core.management import call_command
        from django.db import connections

        from tests import walking

        call_command("migrate", verbosity=0)
        plane = walking.first_rows()
        found = []
        for rows in (asked.rows, asked.rows * 10):
            walking.grow(plane, rows, wide=WIDE)
            lengthen(plane, rows)
            analyze()
            costs, absent = measure(plane, asked.rounds)
            found.append(costs)
        print_table(*found, asked.all)
        for why in dict.fromkeys(absent.values()):
            routes = [f"`/{route}`" for route, reason in absent.items() if reason == why]
            print(f"\nLeft out, {why}: {', '.join(routes)}.")
        if asked.memory:
            paths = addresses_and_cookies(costs, plane)
            connections.close_all()
            weigh(home, paths)


if __name__ == "__main__":
    main()
