"""What workers write: an attempt begins, reports, and ends. A write filters on owner and attempt: no row, lost job."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

from django.db import connection, transaction
from django.db.models import F, Q
from django.db.models.functions import Now

from apps.core.actors import Actor
from apps.core.errors import StaleState
from apps.core.policy import is_allowed, require
from apps.platform.accounts.actors import build_actor_from_grant
from apps.platform.artifacts.models import Artifact
from apps.platform.audit.services import change_state
from apps.platform.jobs.checkpoints import forget_checkpoint
from apps.platform.jobs.errors import authority_gone
from apps.platform.jobs.kinds import KINDS
from apps.platform.jobs.models import Job, JobEvent, JobMember, JobOutput
from apps.platform.jobs.queries import copy_for_member
from apps.platform.jobs.scheduling import doorbell
from apps.platform.jobs.scheduling.backoff import compute_retry_pause
from apps.platform.jobs.scheduling.eligibility import build_due_filter
from apps.platform.jobs.scheduling.placement import choose_devices, compute_free_capacity
from apps.platform.jobs.scheduling.reservations import build_claimable_filter, get_claimable_capacity, get_reserved_job
from apps.platform.jobs.services.gangs import claim_gang
from apps.platform.jobs.services.moves import (
    cancel_running,
    end_members,
    fail_job,
    filter_current_attempt,
    free_children,
    record_move,
    requeue_running,
)
from apps.platform.jobs.services.stalls import stall_job
from apps.platform.jobs.states import OPEN_MEMBERS, JobState
from apps.platform.jobs.submission import get_lease_seconds
from apps.platform.nodes.models import Node
from deepseek.messages import Message

MAX_PASSED = 20  # jobs over several nodes that one claim tries to find nodes for


def claim_job(*, actor: Actor, node: Node, owner: str, queue: str) -> Job | None:
    """The best queued job of `queue` that fits what `node` has free, now running under `owner`; None if there is none.

    The node's row is locked, so that two threads of one worker do not both take its last free CPU; on PostgreSQL
    other nodes skip the row that this one looks at, on SQLite the write lock orders them. Where the node is kept free
    for a job that has waited long (scheduling/reservations.py), smaller ones behind it fill only what that leaves.

    A job over several nodes starts only where all of them have room (services/gangs.py); until then others pass it.

    The claim raises `attempt`, the fence: what an earlier attempt writes matches no row (`guard` of change_state).
    """
    require(actor, "job.claim")
    passed: list[int] = []  # jobs over several nodes that cannot start now
    while _has_queued_jobs(queue):
        gang = None
        with transaction.atomic():
            node = Node.objects.select_for_update().get(pk=node.pk)
            if node.held_at or node.short_disks or node.failed_checks:
                return None
            needs = ("need_cpus", "need_memory_bytes", "devices")
            running = list(Job.objects.filter(node=node, state=JobState.RUNNING).only(*needs))
            free = compute_free_capacity(node, [*running, *load_member_jobs(node, needs)])
            reserved_for = get_reserved_job(node)
            # A kind that this worker does not know yet, in the middle of an upgrade, is left to one that does.
            best = Job.objects.filter(
                build_due_filter(),
                build_claimable_filter(free, reserved_for),
                state=JobState.QUEUED,
                queue=queue,
                kind__in=list(KINDS),
            )
            if passed:
                best = best.filter(need_nodes=1) if len(passed) == MAX_PASSED else best.exclude(pk__in=passed)
            skip = connection.features.has_select_for_update_skip_locked
            job = best.order_by("-priority", "id").select_for_update(skip_locked=skip, of=("self",)).first()
            if job is None:
                return None
            requester = build_actor_from_grant(job.grant)
            if requester is None or not is_allowed(requester, "job.submit", job):
                fail_job(actor, job, authority_gone(job))
            elif job.need_nodes > 1:
                gang = job
            else:
                return _take(
                    actor, job, node, owner, choose_devices(job, get_claimable_capacity(job, free, reserved_for)) or []
                )
        # Behind the transaction: the rows of all its nodes are locked in one order, this one among them.
        if gang is not None:
            if claimed := claim_gang(actor=actor, job=gang, node=node, owner=owner):
                return claimed
            passed.append(gang.pk)
    return None


def load_member_jobs(node: Node, columns: Sequence[str]) -> list[Job]:
    """What jobs that run on other nodes first take of this one."""
    members = JobMember.objects.filter(
        node=node, rank__gt=0, state__in=OPEN_MEMBERS, job__state=JobState.RUNNING, job__attempt=F("attempt")
    )
    job_columns = [f"job__{name}" for name in columns]
    return [
        copy_for_member(member.job, member)
        for member in members.select_related("job").only("job", "node", "devices", *job_columns)
    ]


def _has_queued_jobs(queue: str) -> bool:
    """A doorbell may be stale: look before taking the write lock, which on SQLite is everybody's."""
    return connection.vendor != "sqlite" or Job.objects.filter(state=JobState.QUEUED, queue=queue).exists()


def _take(actor: Actor, job: Job, node: Node, owner: str, devices: list[int]) -> Job:
    change_state(
        job,
        JobState.RUNNING,
        actor=actor.with_job(job.pk),
        guard={"attempt": job.attempt},
        attempt=job.attempt + 1,
        owner=owner,
        node=node,
        devices=devices,
        reserved_on=None,
        lease_until=Now() + timedelta(seconds=get_lease_seconds()),
        claimed_at=Now(),
        process=None,
        progress={},
        error=None,
    )
    record_move(
        job,
        Message(
            "Claimed by {node_name}, attempt {attempts_used}", node_name=node.name, attempts_used=job.attempts_used
        ),
        node=node.name,
    )
    return job


def renew_leases(*, actor: Actor, owner: str, jobs: Sequence[tuple[int, int]]) -> int:
    """Renew the lease of every (job, attempt) that `owner` still holds; returns how many. Telemetry: no audit."""
    require(actor, "job.report")
    leases = Q()
    for pk, attempt in jobs:
        leases |= Q(pk=pk, attempt=attempt)
    if not jobs:
        return 0
    return Job.objects.filter(leases, owner=owner, state=JobState.RUNNING).update(
        lease_until=Now() + timedelta(seconds=get_lease_seconds())
    )


def report_events(*, actor: Actor, job: Job, events: Sequence[tuple[str, Mapping[str, Any]]], **snapshot: Any) -> None:
    """Append telemetry of this attempt and set `snapshot` (progress, process, log_lines) on the row.

    Raises StaleState when the job is no longer this owner's: it must kill its process and write nothing more.
    """
    require(actor, "job.report")
    with transaction.atomic():
        rows = filter_current_attempt(job).update(event_seq=F("event_seq") + len(events), **snapshot)
        if not rows:
            raise StaleState(
                "Job {job_pk} is not held by attempt {attempt} any more.",
                job_pk=job.pk,
                attempt=job.attempt,
                field="attempt",
            )
        last = Job.objects.values_list("event_seq", flat=True).get(pk=job.pk)
        JobEvent.objects.bulk_create(
            JobEvent(job=job, seq=last - len(events) + index, attempt=job.attempt, kind=kind, payload=dict(payload))
            for index, (kind, payload) in enumerate(events, start=1)
        )


def succeed_job(
    *,
    actor: Actor,
    job: Job,
    outputs: Sequence[tuple[str, Artifact, str, str, Mapping[str, Any]]],
    result: Mapping[str, Any],
) -> Job:
    """Promote the outputs (slot, artifact, name, media type, meta) of this attempt and end the job.

    Compare-and-set on owner and attempt; call it in one transaction with what registers the outputs.
    """
    require(actor, "job.finish")
    with transaction.atomic():
        change_state(
            job,
            JobState.SUCCEEDED,
            actor=actor.with_job(job.pk),
            guard={"owner": job.owner, "attempt": job.attempt},
            digests={slot: artifact.pk for slot, artifact, *_ in outputs},
            ended_at=Now(),
            lease_until=None,
            result=dict(result),
        )
        end_members(actor, job)
        JobOutput.objects.bulk_create(
            JobOutput(job=job, slot=slot, artifact=artifact, name=name, media_type=media_type, meta=dict(meta))
            for slot, artifact, name, media_type, meta in outputs
        )
        forget_checkpoint(job)
        record_move(job, Message("Outputs registered"))
        free_children(actor, job)
    return job


def fail_attempt(*, actor: Actor, job: Job, error: Mapping[str, Any], retry: bool, counts: bool = True) -> Job:
    """End this attempt: queue the job again after a pause if `retry` and attempts are left, else fail it.

    One that does not count (a full disk, a store that is away: no fault of the job) costs none of its attempts; the
    job fails when it has been stalled for STALL_HOURS.
    """
    require(actor, "job.finish")
    guard = {"owner": job.owner, "attempt": job.attempt}
    with transaction.atomic():
        if retry and not counts:
            stall_job(actor, job, guard, error)
        elif retry and job.attempts_used < job.max_attempts:
            pause = compute_retry_pause(job.attempts_used)
            requeue_running(actor, job, guard, error=error, pause=pause, stalled_since=None, stalls=0)
        else:
            fail_job(actor, job, error, guard=guard)
    return job


def release_job(*, actor: Actor, job: Job, reason: str) -> Job:
    """Give the job back after a graceful stop: this attempt does not count."""
    require(actor, "job.finish")
    with transaction.atomic():
        guard = {"owner": job.owner, "attempt": job.attempt}
        requeue_running(actor, job, guard, reason=reason, released=F("released") + 1)
    return job


def end_cancelled(*, actor: Actor, job: Job) -> Job:
    """The worker has stopped the process of a job whose cancelling was asked for."""
    require(actor, "job.finish")
    with transaction.atomic():
        cancel_running(actor, job, {"owner": job.owner, "attempt": job.attempt})
    return job


def ring_again(*, actor: Actor, queue: str) -> None:
    """Wake one more thread if jobs are left: who was woken and found work calls this, so that each wakes the next.

    A parent whose end frees a hundred jobs rings once for all of them; without this one thread would run them all,
    and the dispatcher would add one a second.
    """
    require(actor, "job.claim")
    if Job.objects.filter(build_due_filter(), state=JobState.QUEUED, queue=queue).exists():
        doorbell.ring(queue)
