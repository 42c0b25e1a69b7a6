"""The audit trail: what a record costs a write, what sealing costs beside it, how fast it seals and verifies.

Run: python benchmarks/audit.py [seconds] [rounds]                                  SQLite (default 3 s, 4 rounds)
     DATABASE_URL=postgres://user@host/any python benchmarks/audit.py               PostgreSQL, in a database of its own

Four writer processes each update a row of their own per transaction. The ways alternate within each round, every second
round backwards; the figure is the median over rounds. "bare": no record. "unsealed": with a record, no sealer runs.
"sealed": the same with a sealer beside it, as the plane runs it. "chained": the usual way, where each transaction locks
the head of the chain and hashes into it; the peer to beat. At the end the trail must verify.
"""

from __future__ import annotations

import multiprocessing
import os
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

WRITERS = 4
WAYS = ("bare", "unsealed", "sealed", "chained")
BACKLOG = 50_000  # records for the rates of sealing and verifying


def start_django() -> None:
    import django

    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "controlplane.settings")
    django.setup()


def write(way: str, number: int, go: Any, seconds: float, results: Any) -> None:
    """One writer: transactions until the time is up."""
    start_django()
    from django.db import transaction

    from apps.core.actors import Actor
    from apps.platform.accounts.models import Project
    from apps.platform.audit.models import ChainHead
    from apps.platform.audit.sealer import seal_batch
    from apps.platform.audit.services import record

    actor = Actor(kind="user", label=f"writer-{number}", user_id=number, request_id="bench")
    project = Project.objects.get(slug=f"p{number}")
    go.wait()
    done, until = 0, time.monotonic() + seconds
    while time.monotonic() < until:
        with transaction.atomic():
            if way == "chained":  # the head first, or two writers deadlock on it and their rows
                ChainHead.objects.select_for_update().get(pk=1)
            Project.objects.filter(pk=project.pk).update(name=f"{done}")
            if way != "bare":
                record(actor=actor, action="project.rename", obj=project, after={"name": f"{done}"})
            if way == "chained":
                seal_batch(10)
        done += 1
    results.put(done)


def seal_beside(go: Any, stop: Any) -> None:
    """The sealer as the dispatcher runs it: every half second."""
    start_django()
    from apps.core.actors import PlaneRole, build_plane_actor
    from apps.platform.audit.sealer import run_sealer_round

    actor = build_plane_actor(PlaneRole.DISPATCHER)
    go.wait()
    while not stop.wait(0.5):
        run_sealer_round(actor)


def rate(way: str, seconds: float) -> float:
    """Transactions per second of all writers together."""
    context = multiprocessing.get_context("spawn")
    go, stop, results = context.Event(), context.Event(), context.Queue()
    writers = [
        context.Process(target=write, args=(way, number, go, seconds, results), daemon=True)
        for number in range(WRITERS)
    ]
    sealers = [context.Process(target=seal_beside, args=(go, stop), daemon=True)] if way == "sealed" else []
    for process in [*writers, *sealers]:
        process.start()
    time.sleep(4)  # until every process has loaded Django
    go.set()
    total = sum(results.get(timeout=seconds * 10 + 60) for _ in writers)
    stop.set()
    for process in [*writers, *sealers]:
        process.join()
    return total / seconds


def seal_and_verify() -> tuple[float, float, float]:
    """Records written per second in one transaction, rows sealed and rows verified per second; one process."""
    from django.db import transaction

    from apps.core.actors import PlaneRole, build_plane_actor
    from apps.platform.audit.sealer import seal_all
    from apps.platform.audit.services import record
    from apps.platform.audit.verification import examine

    actor = build_plane_actor(PlaneRole.OPERATOR)
    seal_all()
    started = time.perf_counter()
    with transaction.atomic():
        for number in range(BACKLOG):
            record(actor=actor, action="thing.change", object_type="thing", object_id=number, after={"n": number})
    written = time.perf_counter()
    if seal_all() != BACKLOG:
        raise SystemExit("the sealer did not take every record")
    sealed = time.perf_counter()
    found = examine()
    if not found.whole:
        raise SystemExit(f"the trail is broken: {found.finding}")
    return BACKLOG / (written - started), BACKLOG / (sealed - written), found.sealed / found.seconds


@contextmanager
def database_of_our_own() -> Iterator[str]:
    """A fresh home, and on PostgreSQL a fresh database; both gone afterwards. Yields the database's name."""
    home = tempfile.mkdtemp(prefix="audit-bench-")
    os.environ["PLANE_HOME"] = home
    os.makedirs(f"{home}/uploads")
    url = os.environ.get("DATABASE_URL", "")
    try:
        if not url:
            yield "SQLite"
            return
        import psycopg

        server, name = url.rsplit("/", 1)[0], f"audit_bench_{os.getpid()}"
        with psycopg.connect(f"{server}/postgres", autocommit=True) as admin:
            admin.execute(f"CREATE DATABASE {name}")
            os.environ["DATABASE_URL"] = f"{server}/{name}"
            yield "PostgreSQL"
            admin.execute(f"DROP DATABASE {name} WITH (FORCE)")
    finally:
        shutil.rmtree(home, ignore_errors=True)


def main() -> None:
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 3.0
    rounds = int(sys.argv[2]) if len(sys.argv) > 2 else 4
    with database_of_our_own() as vendor:
        start_django()
        from django.core.management import call_command
        from django.db import connections

        from apps.platform.accounts.models import Project

        call_command("migrate", verbosity=0)
        Project.objects.bulk_create([Project(slug=f"p{number}", name="") for number in range(WRITERS)])
        connections.close_all()
        rates: dict[str, list[float]] = {way: [] for way in WAYS}
        for turn in range(rounds):
            for way in WAYS if turn % 2 == 0 else reversed(WAYS):
                rates[way].append(rate(way, seconds))
        median = {way: statistics.median(values) for way, values in rates.items()}
        print(f"{vendor}, {WRITERS} writers, {seconds:g} s, median of {rounds}")
        for way in WAYS:
            print(f"  {way:9} {median[way]:8,.0f} tx/s   {median[way] / median['unsealed']:5.2f} of unsealed")
        written, sealed, verified = seal_and_verify()
        print(f"  record {written:,.0f}/s in one transaction, seal {sealed:,.0f}/s, verify {verified:,.0f}/s")
        print(f"  one sealer keeps up with {sealed / median['unsealed']:.0f} times these writers")
        connections.close_all()


if __name__ == "__main__":
    main()
