"""Outbox of job state changes for external systems: which are sent, and those not yet acknowledged.

Written in the transaction of the move, so that none is lost and none is told that did not happen. Who sends them and
in which words is above (openlineage, workers/openlineage.py); where nothing is told outside, nothing is written.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import timedelta

from django.conf import settings
from django.db import transaction
from django.db.models import F, Q
from django.db.models.functions import Now

from apps.core.actors import Actor
from apps.core.policy import require
from apps.platform.jobs.models import JobEvent, JobNotice
from apps.platform.jobs.states import JobState

NOTIFIED_STATES: frozenset[str] = frozenset({JobState.RUNNING, JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED})
LEASE = timedelta(seconds=60)  # of whoever sends: one that dies is followed by another after so long
MAX_PAUSE_SECONDS = 300.0  # seconds between two tries


def is_notifiable(event: JobEvent) -> bool:
    """Whether this move begins or ends an attempt: a claim, an end, a running job that was queued again."""
    payload = event.payload
    return payload.get("state") in NOTIFIED_STATES or "code" in payload or "released" in payload


def queue_notice(event: JobEvent) -> None:
    """Queue the move for every way out that is set up; call it in the transaction of the move."""
    sinks = settings.OPENLINEAGE_SINKS
    if sinks and event.kind == "state" and is_notifiable(event):
        JobNotice.objects.bulk_create(JobNotice(event=event, sink=sink) for sink in sinks)


def take_notices(*, actor: Actor, sink: str, most: int) -> list[JobNotice]:
    """The oldest notices of a sink, leased to the caller, in the order of the moves; none while the oldest waits.

    Others do not overtake: what was told first arrives first. A second dispatcher finds the lease and takes none.
    """
    require(actor, "job.recover")
    waiting = JobNotice.objects.filter(sink=sink, refused="").order_by("id")
    due = Q(not_before=None) | Q(not_before__lte=Now())
    first = waiting.first()
    if first is None:
        return []  # the usual case takes no lock
    with transaction.atomic():
        if not JobNotice.objects.select_for_update().filter(due, pk=first.pk).exists():
            return []
        keys = list(waiting.values_list("pk", flat=True)[:most])
        JobNotice.objects.filter(pk__in=keys).update(not_before=Now() + LEASE)
    rows = JobNotice.objects.filter(pk__in=keys).select_related("event__job__project", "event__job__node")
    return list(rows.order_by("id"))


def acknowledge_notices(*, actor: Actor, notices: Sequence[JobNotice]) -> None:
    """Delete notices that the receiver acknowledged."""
    require(actor, "job.recover")
    JobNotice.objects.filter(pk__in=[notice.pk for notice in notices]).delete()


def reschedule_notices(*, actor: Actor, notices: Sequence[JobNotice]) -> float:
    """Nobody answered: wait twice as long as before, from one second on. Returns the pause in seconds."""
    require(actor, "job.recover")
    pause = min(MAX_PAUSE_SECONDS, 2.0 ** min(notices[0].tries, 20))
    keys = [notice.pk for notice in notices]
    JobNotice.objects.filter(pk__in=keys).update(not_before=Now() + timedelta(seconds=pause), tries=F("tries") + 1)
    return pause


def refuse_notice(*, actor: Actor, notice: JobNotice, why: str) -> None:
    """The other side will never take it: it is kept, with the reason, and does not hold up the others."""
    require(actor, "job.recover")
    JobNotice.objects.filter(pk=notice.pk).update(refused=why[:500] or "refused")


def release_notices(*, actor: Actor, notices: Collection[JobNotice]) -> None:
    """Release the lease of notices that were not sent."""
    require(actor, "job.recover")
    JobNotice.objects.filter(pk__in=[notice.pk for notice in notices]).update(not_before=None)
