"""Attempts that end by no fault of the job: a full disk, a store that is away. They cost it nothing, for a time."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.db.models import F

from apps.core.actors import Actor
from apps.platform.jobs.errors import stalled_for_too_long
from apps.platform.jobs.models import Job, JobCheckpoint
from apps.platform.jobs.scheduling.backoff import compute_stall_pause
from apps.platform.jobs.services.moves import fail_job, requeue_running
from apps.platform.nodes.samples import get_database_now


def stall_job(actor: Actor, job: Job, guard: Mapping[str, Any], error: Mapping[str, Any]) -> None:
    """Queue the job again at no cost, or fail it when that has gone on for too long.

    A checkpoint that was stored meanwhile means that the job had got on: the time begins anew.
    """
    now, hours = get_database_now(), settings.ENV.stall_hours
    since, stalls = job.stalled_since or now, job.stalls
    if stalls and JobCheckpoint.objects.filter(job=job, created_at__gt=since).exists():
        since, stalls = now, 0
    if now - since >= timedelta(hours=hours):
        fail_job(actor, job, stalled_for_too_long(error, hours), guard=guard)
        return
    fields: dict[str, Any] = {"released": F("released") + 1, "stalled_since": since, "stalls": stalls + 1}
    requeue_running(actor, job, guard, error=error, pause=compute_stall_pause(stalls + 1), counts=False, **fields)
