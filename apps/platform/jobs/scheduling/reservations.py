"""Reserve a node for a large job, which would starve under a steady stream of small ones.

A job at the head of its queue that has waited for RESERVE_SECONDS and fits no node as full as they are gets one kept
free for it, that which will have room soonest. There nothing else starts but what goes before it, and what leaves its
needs untouched; what runs goes on. So it waits no longer than the jobs that ran there when the place was kept.

One place for each queue and one job for each node at most: the rest of the fleet works on as before. A job over several
nodes gets all of them kept, those with room as well, or none.
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
from apps.platform.jobs.models import Job, JobEvent, JobReservation
from apps.platform.jobs.queries import load_by_node, load_left_out_nodes
from apps.platform.jobs.scheduling.eligibility import build_due_filter
from apps.platform.jobs.scheduling.placement import (
    FreeCapacity,
    build_fits_filter,
    compute_free_capacity,
    describe_shortfall,
    find_opening,
    get_total_capacity,
)
from apps.platform.jobs.scheduling.queues import find_queue_heads
from apps.platform.jobs.states import JobState
from apps.platform.nodes.models import Node
from apps.platform.nodes.samples import get_database_now


def build_claimable_filter(free: FreeCapacity, reserved_for: Job | None) -> Q:
    """The rows of Job that a node with `free` may take, where it is kept for `kept`."""
    if reserved_for is None:
        return build_fits_filter(free)
    before = (
        Q(pk=reserved_for.pk)
        | Q(priority__gt=reserved_for.priority)
        | Q(priority=reserved_for.priority, pk__lt=reserved_for.pk)
    )
    return (build_fits_filter(free) & before) | build_fits_filter(free.subtract_needs(reserved_for))


def get_claimable_capacity(job: Job, free: FreeCapacity, reserved_for: Job | None) -> FreeCapacity:
    """What `job` may take its GPUs from."""
    return free if reserved_for is None or not job.is_behind(reserved_for) else free.subtract_needs(reserved_for)


def get_reserved_job(node: Node) -> Job | None:
    """The job that `node` is kept free for, if it is due. One query, by the index job_reserved."""
    due, several = (
        build_due_filter(),
        Q(need_nodes__gt=1, pk__in=JobReservation.objects.filter(node=node).values("job")),
    )
    kept = Job.objects.filter(due, state=JobState.QUEUED, reserved_on__isnull=False, kind__in=list(KINDS))
    return kept.filter(Q(reserved_on=node) | several).order_by("pk").first()


# -- what the dispatcher does ---------------------------------------------------------------------------------------
def reserve_nodes(*, actor: Actor) -> int:
    """Keep a node free for each queue's head that has waited too long, and give up places that are of no use any more;
    returns how many were kept anew. Compare-and-set, so several dispatchers may run. Telemetry: no audit.
    """
    require(actor, "job.recover")
    online = [node for node in Node.objects.with_status() if node.status == "online"]  # type: ignore[attr-defined]
    nodes = [node for node in online if not node.short_disks and not node.failed_checks]  # which would claim nothing
    running, reserved_by_node = load_by_node(nodes)
    release_unusable_reservations(reserved_by_node.values(), nodes)
    heads = find_queue_heads({queue for node in nodes for queue in node.queues})
    since = get_database_now() - timedelta(seconds=settings.ENV.reserve_seconds)
    reserved_queues = {job.queue for job in reserved_by_node.values()}
    aged = [
        job for job in heads.values() if job.queue not in reserved_queues and job.queued_at and job.queued_at <= since
    ]
    if not aged:
        return 0
    count = 0
    for job in aged:
        unreserved = [node for node in nodes if node.pk not in reserved_by_node]
        if job.need_nodes > 1:
            chosen = find_earliest_nodes(job, unreserved, running)
        else:
            node = find_earliest_node(job, unreserved, running)
            chosen = [] if node is None else [node]
        if chosen and reserve_node(job, *chosen):
            reserved_by_node |= {node.pk: job for node in chosen}
            count += len(chosen)
    return count


def release_unusable_reservations(reserved_jobs: Iterable[Job], nodes: Iterable[Node]) -> None:
    """Release reservations on nodes that are gone, offline, held or too small by now."""
    usable = {node.pk: node for node in nodes}
    jobs = {job.pk: job for job in reserved_jobs}
    several = JobReservation.objects.filter(job__in=[job.pk for job in jobs.values() if job.need_nodes > 1])
    kept: dict[int, list[int]] = {}
    for job_id, node_id in several.values_list("job", "node"):
        kept.setdefault(job_id, []).append(node_id)
    left_out = load_left_out_nodes([jobs[pk] for pk in kept])
    for job in jobs.values():
        nodes_kept = [usable.get(pk) for pk in kept.get(job.pk, [job.reserved_on_id or 0])]
        enough = len(nodes_kept) == job.need_nodes
        if not enough or any(
            node is None
            or job.queue not in node.queues
            or (job.pk, node.pk) in left_out
            or describe_shortfall(job, get_total_capacity(node))
            for node in nodes_kept
        ):
            release_reservation(job)


def release_reservation(job: Job) -> None:
    """Give up all nodes that are kept for a job, if it still waits for these."""
    with transaction.atomic():
        if Job.objects.filter(pk=job.pk, reserved_on=job.reserved_on_id).update(reserved_on=None):
            JobReservation.objects.filter(job=job).delete()


def find_earliest_node(job: Job, nodes: Iterable[Node], running: Mapping[int | None, list[Job]]) -> Node | None:
    """The node that will have room for `job` first; None if one has it now, or none ever will."""
    now = timezone.now()
    serving = [node for node in nodes if job.queue in node.queues]
    if any(not describe_shortfall(job, compute_free_capacity(node, running[node.pk])) for node in serving):
        return None  # the next claim takes it
    openings = [(find_opening(job, node, running[node.pk], now), node) for node in serving]
    ends = [
        (next_opening.expected or next_opening.latest, node.pk, node)
        for next_opening, node in openings
        if next_opening is not None
    ]
    return min(ends)[2] if ends else None


def find_earliest_nodes(job: Job, nodes: Iterable[Node], running: Mapping[int | None, list[Job]]) -> list[Node]:
    """The nodes that will have room for a job over several nodes first, those that have it now among them.

    Empty if enough have it now, or too few ever will.
    """
    now, left_out = timezone.now(), load_left_out_nodes([job])
    ends = []
    for node in nodes:
        if job.queue not in node.queues or (job.pk, node.pk) in left_out:
            continue
        if not describe_shortfall(job, compute_free_capacity(node, running[node.pk])):
            ends.append((now, node.pk, node))
        elif opening := find_opening(job, node, running[node.pk], now):
            ends.append((opening.expected or opening.latest, node.pk, node))
    ready = [end for end in ends if end[0] == now]
    if len(ready) >= job.need_nodes or len(ends) < job.need_nodes:
        return []
    return [node for _end, _pk, node in sorted(ends, key=lambda end: end[:2])[: job.need_nodes]]


def reserve_node(job: Job, *nodes: Node) -> bool:
    """Reserve the node, or all nodes, for `job`; False if it was claimed, cancelled or given another meanwhile."""
    with transaction.atomic():
        waiting = Job.objects.filter(pk=job.pk, state=JobState.QUEUED, reserved_on=None)
        if not waiting.update(reserved_on=nodes[0], event_seq=F("event_seq") + 1):
            return False
        if job.need_nodes > 1:
            JobReservation.objects.filter(job=job).delete()
            JobReservation.objects.bulk_create(JobReservation(job=job, node=node) for node in nodes)
        job.refresh_from_db()
        reason = f"What becomes free on {', '.join(node.name for node in nodes)} is kept for it"
        payload = {"state": job.state, "reason": reason, "at": timezone.now().isoformat()}
        JobEvent.objects.create(job=job, seq=job.event_seq, attempt=job.attempt, kind="state", payload=payload)
    return True
