"""A place kept for a large job: under a steady stream of small ones it would else wait for ever.

A job at the head of its queue that has waited for RESERVE_SECONDS and fits no node as full as they are gets one kept
free for it, that which will have room soonest. There nothing else starts but what goes before it, and what leaves its
needs untouched; what runs goes on. So it waits no longer than the jobs that ran there when the place was kept.

One place for each queue and one job for each node at most: the rest of the fleet works on as before.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import timedelta

from django.conf import settings
from django.db import transaction
from django.db.models import F, Q
from django.utils import timezone

from apps.core.actors import Actor
from apps.core.policy import require
from apps.platform.jobs.kinds import KINDS
from apps.platform.jobs.models import Job, JobEvent
from apps.platform.jobs.queries import occupied
from apps.platform.jobs.scheduling.eligibility import build_due_filter
from apps.platform.jobs.scheduling.placement import Free, all_of, fits, free_on, opening, shortfall
from apps.platform.jobs.scheduling.queues import heads_of
from apps.platform.jobs.states import JobState
from apps.platform.nodes.models import Node
from apps.platform.nodes.samples import database_now


def claimable(free: Free, kept: Job | None) -> Q:
    """The rows of Job that a node with `free` may take, where it is kept for `kept`."""
    if kept is None:
        return fits(free)
    before = Q(pk=kept.pk) | Q(priority__gt=kept.priority) | Q(priority=kept.priority, pk__lt=kept.pk)
    return (fits(free) & before) | fits(free.beside(kept))


def free_for(job: Job, free: Free, kept: Job | None) -> Free:
    """What `job` may take its GPUs from."""
    return free if kept is None or not job.goes_behind(kept) else free.beside(kept)


def kept_for(node: Node) -> Job | None:
    """The job that `node` is kept free for, if it is due. One query, by the index job_reserved."""
    due = build_due_filter()
    return Job.objects.filter(due, reserved_on=node, state=JobState.QUEUED, kind__in=list(KINDS)).order_by("pk").first()


# -- what the dispatcher does ---------------------------------------------------------------------------------------
def keep_places(*, actor: Actor) -> int:
    """Keep a node free for each queue's head that has waited too long, and give up places that are of no use any more;
    returns how many were kept anew. Compare-and-set, so several dispatchers may run. Telemetry: no audit.
    """
    require(actor, "job.recover")
    online = [node for node in Node.objects.with_status() if node.status == "online"]  # type: ignore[attr-defined]
    nodes = [node for node in online if not node.short_disks]  # such a node claims nothing
    running, held = occupied(nodes)
    give_up(held.values(), nodes)
    heads = heads_of({queue for node in nodes for queue in node.queues})
    since = database_now() - timedelta(seconds=settings.ENV.reserve_seconds)
    taken = {job.queue for job in held.values()}
    aged = [job for job in heads.values() if job.queue not in taken and job.queued_at and job.queued_at <= since]
    if not aged:
        return 0
    made = 0
    for job in aged:
        node = soonest(job, [node for node in nodes if node.pk not in held], running)
        if node is not None and keep(job, node):
            held[node.pk] = job
            made += 1
    return made


def give_up(held: Iterable[Job], nodes: Iterable[Node]) -> None:
    """A node that is gone, silent, held or too small by now is kept for nobody."""
    usable = {node.pk: node for node in nodes}
    for job in held:
        node = usable.get(job.reserved_on_id or 0)
        if node is None or job.queue not in node.queues or shortfall(job, all_of(node)):
            Job.objects.filter(pk=job.pk, reserved_on=job.reserved_on_id).update(reserved_on=None)


def soonest(job: Job, nodes: Iterable[Node], running: Mapping[int | None, list[Job]]) -> Node | None:
    """The node that will have room for `job` first; None if one has it now, or none ever will."""
    now = timezone.now()
    serving = [node for node in nodes if job.queue in node.queues]
    if any(not shortfall(job, free_on(node, running[node.pk])) for node in serving):
        return None  # the next claim takes it
    openings = [(opening(job, node, running[node.pk], now), node) for node in serving]
    ends = [(found.expected or found.latest, node.pk, node) for found, node in openings if found is not None]
    return min(ends)[2] if ends else None


def keep(job: Job, node: Node) -> bool:
    """False where it was claimed, cancelled or kept elsewhere meanwhile."""
    with transaction.atomic():
        waiting = Job.objects.filter(pk=job.pk, state=JobState.QUEUED, reserved_on=None)
        if not waiting.update(reserved_on=node, event_seq=F("event_seq") + 1):
            return False
        job.refresh_from_db()
        reason = f"What becomes free on {node.name} is kept for it"
        payload = {"state": job.state, "reason": reason, "at": timezone.now().isoformat()}
        JobEvent.objects.create(job=job, seq=job.event_seq, attempt=job.attempt, kind="state", payload=payload)
    return True
