"""Where a job goes on when it is tried again: one row and one object, replaced by each newer checkpoint.

The bytes lie in an area of the store that one attempt alone writes to, never among the artifacts. So they can be
removed with no look at anybody else: an upload of equal bytes, or an equal job, has an object of its own.
"""

from __future__ import annotations

import logging
from datetime import timedelta

from django.db import transaction
from django.db.models import Q
from django.db.models.functions import Now
from django.utils import timezone

from apps.core.actors import Actor
from apps.core.errors import StaleState
from apps.core.policy import require
from apps.platform.artifacts.store import Store
from apps.platform.artifacts.stores import get_store
from apps.platform.jobs.models import Job, JobCheckpoint
from apps.platform.jobs.states import ENDED, JobState

log = logging.getLogger(__name__)

AREA = "checkpoints"
FAILED_RETENTION = timedelta(days=30)
"""A failed job may be retried for so long from where it was; later from the beginning."""


def get_checkpoint_area(job: int, attempt: int) -> Store:
    """Where the checkpoints of one attempt lie. It has one writer, and its name is never used again."""
    return get_store().area(AREA, f"{job}-{attempt}")


def get_checkpoint(job: Job) -> JobCheckpoint | None:
    """What the next attempt of `job` would go on from; no query where the job was read with it."""
    return getattr(job, "checkpoint", None)


def record_checkpoint(*, actor: Actor, job: Job, step: int, digest: str, size: int) -> JobCheckpoint:
    """Let the next attempt go on from `step`: its bytes are in the attempt's area already. Telemetry: no audit.

    Raises StaleState when the job is no longer this owner's. What it replaces is removed once this is committed.
    """
    require(actor, "job.report")
    with transaction.atomic():
        current = Job.objects.filter(pk=job.pk, owner=job.owner, attempt=job.attempt, state=JobState.RUNNING)
        if not current.select_for_update(no_key=True).exists():
            raise StaleState(
                "Job {job_pk} is not held by attempt {attempt} any more.",
                job_pk=job.pk,
                attempt=job.attempt,
                field="attempt",
            )
        former = JobCheckpoint.objects.filter(job=job).first()
        values = {"attempt": job.attempt, "step": step, "digest": digest, "size": size, "created_at": Now()}
        JobCheckpoint.objects.update_or_create(job=job, defaults=values)
        if former and (former.attempt, former.digest) != (job.attempt, digest):
            transaction.on_commit(lambda: _remove_replaced(former, job.attempt), robust=True)
    return JobCheckpoint.objects.get(job=job)


def forget_checkpoint(job: Job) -> None:
    """For the transaction that ends a job for good: the row, and after the commit the bytes of every attempt."""
    deleted_count, _ = JobCheckpoint.objects.filter(job=job).delete()
    if deleted_count or job.attempt > 1:  # one that was killed may have left bytes and no row
        transaction.on_commit(lambda: _clear(job.pk, range(1, job.attempt + 1)), robust=True)


def sweep_checkpoints(*, actor: Actor) -> int:
    """Remove what nobody will go on from; how many areas.

    That is: of jobs that failed long ago, and what was left by a fault between the store and the database.
    """
    require(actor, "artifact.scrub")
    old = timezone.now() - FAILED_RETENTION
    JobCheckpoint.objects.filter(job__state__in=ENDED, job__ended_at__lt=old).delete()
    swept = 0
    for name in get_store().area(AREA).areas():
        job, _, attempt = name.partition("-")
        if not (job.isdigit() and attempt.isdigit()):
            continue
        # Ended, or tried again since: no attempt up to this one can still want its bytes but by the row.
        in_use = Q(checkpoint__attempt=attempt) | Q(attempt=attempt, state=JobState.RUNNING)
        if not Job.objects.filter(in_use, pk=job).exists():
            _clear(int(job), [int(attempt)])
            swept += 1
    return swept


def _remove_replaced(former: JobCheckpoint, attempt: int) -> None:
    area = get_checkpoint_area(former.job_id, former.attempt)
    if former.attempt == attempt:
        area.remove(former.digest)
    else:
        area.clear()


def _clear(job: int, attempts: range | list[int]) -> None:
    for attempt in attempts:
        get_checkpoint_area(job, attempt).clear()
