"""What one `claim_job` costs, alone: with an empty queue, and with 10,000 rows behind, beside and before its row.

Run by benchmarks/jobs.py in the home and with the database that it made; `--rows 10000`. The cases alternate. Each
sample queues one job, times its claim (commit included), and ends it. The named alternative is the same claim without
the partial index `job_claim`. "too large" is the worst case: every row ahead asks for more GPUs than the node has.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "controlplane.settings")

import django

django.setup()

from django.db import connection  # noqa: E402
from django.utils import timezone  # noqa: E402

from apps.core.actors import PlaneRole, build_plane_actor  # noqa: E402
from apps.core.canonical import sha256_hex  # noqa: E402
from apps.platform.accounts.actors import build_actor_for_user  # noqa: E402
from apps.platform.accounts.models import Project, User  # noqa: E402
from apps.platform.jobs import services  # noqa: E402
from apps.platform.jobs.models import Job  # noqa: E402
from apps.platform.jobs.states import JobState  # noqa: E402
from apps.platform.nodes.models import Node  # noqa: E402

SAMPLES = 60
WORKER = build_plane_actor(PlaneRole.WORKER, host="bench")
INDEX = next(index for index in Job._meta.indexes if index.name == "job_claim")


def queued(**columns: Any) -> Job:
    user = User.objects.get(username="engineer")
    actor = build_actor_for_user(user)
    return Job(
        **{
            "project": Project.objects.get(slug="demo"),
            "kind": "noop",
            "spec": "{}",
            "spec_digest": sha256_hex("{}"),
            "state": JobState.QUEUED,
            "queue": "cpu",
            "need_cpus": 0.1,
            "time_limit_seconds": 60,
            "requester": actor.label,
            "grant": {**actor.as_record(), "scopes": None},
            "queued_at": timezone.now(),
            **columns,
        }
    )


def fill(rows: int, **columns: Any) -> None:
    """Other rows in the queue: a copy of one, so that 10,000 take a second."""
    example = queued(**columns)
    values = {
        field.attname: getattr(example, field.attname) for field in Job._meta.concrete_fields if field.name != "id"
    }
    Job.objects.bulk_create((Job(**values) for _ in range(rows)), batch_size=1000)
    analyze()


def analyze() -> None:
    """What autovacuum does by itself in a plane that runs: the planner knows the table. Nothing does it on SQLite."""
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("VACUUM ANALYZE jobs_job")


def empty() -> None:
    Job.objects.filter(state=JobState.QUEUED).delete()
    analyze()


def claims(node: Node, samples: int = SAMPLES) -> list[float]:
    """ms of each claim of a job that has just been queued with a higher priority than the others."""
    taken = []
    for _ in range(samples):
        job = queued(priority=10)
        job.save()
        started = time.perf_counter()
        claimed = services.claim_job(actor=WORKER, node=node, owner="bench", queue="cpu")
        taken.append((time.perf_counter() - started) * 1e3)
        if claimed is None or claimed.pk != job.pk:
            raise SystemExit(f"claimed {claimed} instead of {job}")
        services.fail_attempt(actor=WORKER, job=claimed, error={"code": "bench", "message": "bench"}, retry=False)
    return taken


def vain(node: Node, samples: int = SAMPLES) -> list[float]:
    """ms of each look that finds nothing which fits."""
    taken = []
    for _ in range(samples):
        started = time.perf_counter()
        if services.claim_job(actor=WORKER, node=node, owner="bench", queue="cpu"):
            raise SystemExit("something fitted")
        taken.append((time.perf_counter() - started) * 1e3)
    return taken


def dispatch() -> list[float]:
    """ms of each round of the dispatcher, without the ringing."""
    actor = build_plane_actor(PlaneRole.DISPATCHER, host="bench")
    taken = []
    for _ in range(SAMPLES // 3):
        started = time.perf_counter()
        services.recover_expired(actor=actor)
        services.free_waiting(actor=actor)
        services.list_queues_to_ring(actor=actor)
        taken.append((time.perf_counter() - started) * 1e3)
    return taken


def without_index(work: Callable[[], list[float]]) -> list[float]:
    with connection.schema_editor() as editor:
        editor.remove_index(Job, INDEX)
    analyze()
    try:
        return work()
    finally:
        with connection.schema_editor() as editor:
            editor.add_index(Job, INDEX)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=10_000)
    rows = parser.parse_args().rows
    node = Node.objects.get(name=os.environ["NODE_NAME"])
    Node.objects.filter(pk=node.pk).update(held_at=None, heartbeat_at=timezone.now())
    median = statistics.median
    claims(node, 10)  # imports, connections, caches
    base, full, rounds, full_rounds = [], [], [], []
    for _ in range(3):
        empty()
        base += claims(node)
        rounds += dispatch()
        fill(rows)
        full += claims(node)
        full_rounds += dispatch()
    empty_ms, full_ms = median(base), median(full)
    print(f"  claim_job, {connection.vendor}: queue empty {empty_ms:.2f} ms, {rows:,} rows {full_ms:.2f} ms", end="")
    print(f", ratio {full_ms / empty_ms:.2f}")
    print(f"  a round of the dispatcher: {median(rounds):.2f} ms and {median(full_rounds):.2f} ms")
    bare = without_index(lambda: claims(node, 20))
    print(f"  without the index job_claim: {median(bare):.2f} ms, {median(bare) / median(full):.1f} times as long")
    empty()
    fill(rows, need_gpus=64)
    print(f"  none of {rows:,} rows fits: {median(vain(node)):.2f} ms; one behind them, of lower rank: ", end="")
    queued(priority=-10).save()
    started = time.perf_counter()
    if services.claim_job(actor=WORKER, node=node, owner="bench", queue="cpu") is None:
        raise SystemExit("the job behind was not claimed")
    print(f"{(time.perf_counter() - started) * 1e3:.2f} ms", flush=True)


if __name__ == "__main__":
    main()
