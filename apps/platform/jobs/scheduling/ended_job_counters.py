"""Counters of ended jobs, so that `/metrics` need not read the table.

The dispatcher counts what has ended since it last looked. A job that is retried and ends again counts again: what is
counted are endings.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from django.db import models, transaction
from django.db.models import Q

from apps.core.actors import Actor
from apps.core.policy import require
from apps.platform.jobs.models import Job, JobTally, TallyMark
from apps.platform.nodes.samples import get_database_now

BUCKET_BOUNDS = (
    1,
    5,
    15,
    60,
    300,
    900,
    3600,
    4 * 3600,
    12 * 3600,
    24 * 3600,
)  # seconds; one more bucket holds the rest
SETTLE_DELAY = timedelta(seconds=30)
"""An ending is counted so long after it: on PostgreSQL its time is that of its transaction's statement, and one that
commits late must not fall behind the mark."""
MAX_JOBS_PER_COUNT = 5000


def count_ended_jobs(*, actor: Actor) -> int:
    """Count the endings since the mark, at most BATCH, and move the mark; returns how many. Telemetry: no audit.

    The mark's row is locked, so that two dispatchers count nothing twice.
    """
    require(actor, "queue.sample")
    until = get_database_now() - SETTLE_DELAY
    if not filter_ended_since(TallyMark.objects.filter(pk=1).first(), until).exists():
        return 0  # the usual case takes no lock
    with transaction.atomic():
        TallyMark.objects.bulk_create([TallyMark(pk=1)], ignore_conflicts=True)
        mark = TallyMark.objects.select_for_update().get(pk=1)
        jobs = list(filter_ended_since(mark, until)[:MAX_JOBS_PER_COUNT])
        if jobs:
            _add_to_counters(jobs)
            TallyMark.objects.filter(pk=1).update(ended_at=jobs[-1].ended_at, job=jobs[-1].pk)
    return len(jobs)


def filter_ended_since(mark: TallyMark | None, until: datetime) -> models.QuerySet[Job]:
    """The jobs that ended behind `mark` and not after `until`, in the order in which they are counted."""
    ended = Job.objects.filter(ended_at__isnull=False, ended_at__lte=until)
    if mark is not None and mark.ended_at is not None:
        after_mark = Q(ended_at__gt=mark.ended_at) | Q(ended_at=mark.ended_at, pk__gt=mark.job)
        ended = ended.filter(after_mark, ended_at__gte=mark.ended_at)
    return ended.order_by("ended_at", "pk").only("pk", "kind", "queue", "state", "claimed_at", "ended_at")


def _add_to_counters(jobs: list[Job]) -> None:
    """Into the row of each kind, queue and state; the caller holds the mark's lock, so nobody else writes them."""
    groups: dict[tuple[str, str, str], list[Job]] = {}
    for job in jobs:
        groups.setdefault((job.kind, job.queue, job.state), []).append(job)
    for (kind, queue, state), ended in groups.items():
        row, _ = JobTally.objects.get_or_create(kind=kind, queue=queue, state=state)
        took = [seconds for job in ended if (seconds := get_run_seconds(job)) is not None]
        row.ended += len(ended)
        row.ran += len(took)
        row.seconds += sum(took)
        row.buckets = add_to_buckets(row.buckets, took)
        row.save()


def get_run_seconds(job: Job) -> float | None:
    """How long the last attempt ran; None for a job that no worker ever began."""
    if job.claimed_at is None or job.ended_at is None:
        return None
    return max(0.0, (job.ended_at - job.claimed_at).total_seconds())


def add_to_buckets(buckets: Sequence[int], seconds: Sequence[float]) -> list[int]:
    """How many ran for at most BOUNDS[i] seconds, each bucket with those below it; other bounds begin anew."""
    before = list(buckets) if len(buckets) == len(BUCKET_BOUNDS) else [0] * len(BUCKET_BOUNDS)
    return [
        count + sum(value <= bound for value in seconds) for count, bound in zip(before, BUCKET_BOUNDS, strict=True)
    ]
