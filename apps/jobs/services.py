"""Every write to the queue. A worker's writes filter on owner and attempt: zero rows means that it lost the job.

The row is the queue and `attempt` its fence; see specs in the docstrings of models.py and ARCHITECTURE.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import IntegrityError, connection, transaction
from django.db.models import Exists, F, OuterRef, Q
from django.db.models.functions import Now
from django.utils import timezone

from apps.accounts.actors import actor_from_grant
from apps.accounts.models import Project
from apps.actors import Actor
from apps.artifacts.models import Artifact
from apps.audit.services import change_state, record
from apps.canonical import sha256_hex
from apps.errors import Conflict, StaleState
from apps.jobs import doorbell, notices
from apps.jobs.backoff import retry_pause, stall_pause
from apps.jobs.checkpoints import forget_checkpoint, record_checkpoint
from apps.jobs.descent import Descent
from apps.jobs.kinds import KINDS
from apps.jobs.models import Job, JobCheckpoint, JobEvent, JobInput, JobOutput, JobParent
from apps.jobs.placement import devices_for, free_on
from apps.jobs.reasons import (
    ARTIFACT_DAMAGED,
    PARENT_FAILED,
    authority_gone,
    output_missing,
    parent_failed,
    stalled_for_too_long,
    worker_gone,
    worker_lost,
)
from apps.jobs.reservations import claimable, free_for, kept_for
from apps.jobs.specs import spec_text
from apps.jobs.states import ENDED, JobState
from apps.jobs.submission import Checked, InputSpec, Submission, check, lease_seconds, needs_of, queue_of
from apps.nodes.models import Node
from apps.nodes.samples import database_now
from apps.policy import allows, require

__all__ = ["InputSpec", "Submission", "record_checkpoint", "submit_job"]

PRIORITIES = (-100, 100)


# -- what people and tools ask for ----------------------------------------------------------------------------------
def submit_job(*, actor: Actor, project: Project, asked: Submission) -> tuple[Job, bool]:
    """Queue one job. Returns it and whether it is new: the same idempotency key finds the first one.

    Raises Invalid with every error of the submission, Conflict if the key was used for something else.
    """
    require(actor, "job.submit", project)
    first = _same_key(actor, project, asked)
    if first:
        return first, False
    checked = check(actor, project, asked)
    try:
        with transaction.atomic():
            job = _insert(actor, project, asked, checked)
    except IntegrityError:  # the same key at the same instant: the other one was first
        first = _same_key(actor, project, asked)
        if first is None:
            raise
        return first, False
    return job, True


def _same_key(actor: Actor, project: Project, asked: Submission) -> Job | None:
    if asked.idempotency_key is None:
        return None
    job = Job.objects.filter(project=project, requester=actor.label, idempotency_key=asked.idempotency_key).first()
    if job and job.idempotency_digest != asked.digest():
        raise Conflict(
            f"Idempotency-Key {asked.idempotency_key!r} was used for another request (job {job.pk}).",
            code="idempotency_conflict",
            field="Idempotency-Key",
            hint="Send a new key with a new request.",
        )
    return job


def _insert(actor: Actor, project: Project, asked: Submission, checked: Checked) -> Job:
    # No lock: success is final, and one that ends between this look and the child's row leaves a waiting job whose
    # parents have all ended, which the dispatcher's next round moves on.
    parents = Job.objects.in_bulk(list(checked.parents))
    ready = all(parent.state == JobState.SUCCEEDED for parent in parents.values())
    needs, spec = needs_of(checked.kind, asked, checked.spec), spec_text(checked.spec)
    job = Job.objects.create(
        project=project,
        kind=asked.kind,
        name=asked.name,
        spec=spec,
        spec_digest=sha256_hex(spec),
        register=dict(asked.register),
        state=JobState.QUEUED if ready else JobState.WAITING,
        queue=queue_of(checked.kind, needs),
        priority=asked.priority,
        need_cpus=needs.cpus,
        need_memory_bytes=needs.memory_bytes,
        need_gpus=needs.gpus,
        need_gpu_memory_bytes=needs.gpu_memory_bytes,
        need_extra=needs.extra,
        time_limit_seconds=asked.time_limit_seconds or checked.kind.time_limit_seconds,
        max_attempts=asked.max_attempts or checked.kind.max_attempts,
        grant={**actor.as_record(), "scopes": sorted(actor.scopes) if actor.scopes is not None else None},
        requester=actor.label,
        idempotency_key=asked.idempotency_key,
        idempotency_digest=asked.digest() if asked.idempotency_key else "",
        queued_at=timezone.now() if ready else None,
        event_seq=1,
    )
    JobInput.objects.bulk_create(
        JobInput(
            job=job,
            slot=i.slot,
            artifact=checked.artifacts.get(i.digest),
            source_job_id=i.job_id,
            source_slot=i.job_slot,
        )
        for i in asked.inputs
    )
    JobParent.objects.bulk_create(JobParent(parent_id=pk, child=job) for pk in parents)
    if ready and parents:
        _fill_inputs(job)
    record(
        actor=actor,
        action="job.submit",
        obj=job,
        after={"kind": job.kind, "state": job.state, "spec": job.spec_digest, "parents": sorted(parents)},
        digests={i.slot: i.digest for i in asked.inputs if i.digest},
    )
    _state_event(job, f"Submitted by {actor.label}")
    if ready:
        _ring_after_commit(job)
    return job


def cancel_job(*, actor: Actor, job: Job, reason: str = "") -> Job:
    """Cancel: at once if it has not started, else by asking its worker, which looks twice a second."""
    require(actor, "job.cancel", job)
    while True:
        if job.ended:
            raise Conflict(f"Job {job.pk} has ended already: {job.state}.", code="already_ended", field="state")
        try:
            with transaction.atomic():
                if job.state == JobState.RUNNING:
                    _ask_to_cancel(actor, job, reason)
                else:
                    _cancel(actor, job, reason)
        except StaleState:  # claimed, given back or ended since it was read: the wish stands, so decide anew
            job.refresh_from_db()
        else:
            return job


def _ask_to_cancel(actor: Actor, job: Job, reason: str) -> None:
    held = Job.objects.filter(pk=job.pk, state=JobState.RUNNING)
    if held.filter(cancel_requested_at__isnull=True).update(cancel_requested_at=Now(), cancel_reason=reason[:500]):
        record(actor=actor, action="job.cancel", obj=job, reason=reason, after={"cancel_requested": True})
    elif not held.exists():
        raise StaleState(f"Job {job.pk} does not run any more.", field="state")
    job.refresh_from_db()


def _cancel(actor: Actor, job: Job, reason: str) -> None:
    change_state(job, JobState.CANCELLED, actor=actor, reason=reason, ended_at=Now(), cancel_reason=reason[:500])
    forget_checkpoint(job)
    _tell(job, reason or f"Cancelled by {actor.label}")
    _fail_children(actor, job)


def retry_job(*, actor: Actor, job: Job, reason: str = "") -> Job:
    """Queue a failed or cancelled job again, with a fresh allowance of attempts; its failed children wait again.

    A queued job that pauses before its next attempt begins it at once instead.
    """
    require(actor, "job.retry", job)
    if job.is_pausing:
        with transaction.atomic():
            _end_pause(actor, job, reason or f"Retried by {actor.label}")
        return job
    if job.state not in (JobState.FAILED, JobState.CANCELLED):
        raise Conflict(
            f"Job {job.pk} is {job.state}; only a failed or cancelled job is retried.",
            code="not_retryable",
            field="state",
            limit="failed, cancelled",
        )
    with transaction.atomic():
        _revive(actor, job, reason or f"Retried by {actor.label}")
    return job


def _end_pause(actor: Actor, job: Job, reason: str) -> None:
    pausing = Job.objects.filter(pk=job.pk, state=JobState.QUEUED, attempt=job.attempt, not_before__isnull=False)
    before = {"not_before": job.not_before}
    if not pausing.update(not_before=None, event_seq=F("event_seq") + 1):
        raise StaleState(f"Job {job.pk} does not pause any more.", field="state")
    job.refresh_from_db()
    record(actor=actor, action="job.retry", obj=job, reason=reason, before=before, after={"not_before": None})
    _state_event(job, reason)
    _ring_after_commit(job)


def _revive(actor: Actor, job: Job, reason: str, *, released: Any = None) -> None:
    """The job first, then the descendants that failed with it, as `_fail_children` goes down."""
    _queue_again(actor, job, reason, released=released)
    below = Descent(job, state=JobState.FAILED, error__code=PARENT_FAILED)
    for child, parent in below:
        try:
            _queue_again(actor, child, f"Job {parent.pk} is tried again")
        except StaleState:  # somebody else has moved it meanwhile
            continue
        below.enter(child)


def _queue_again(actor: Actor, job: Job, reason: str, *, released: Any = None) -> None:
    """`released`: of the attempts so far, how many do not count; None: all of them."""
    ready = not job.parent_links.exclude(parent__state=JobState.SUCCEEDED).exists()
    change_state(
        job,
        JobState.QUEUED if ready else JobState.WAITING,
        actor=actor,
        reason=reason,
        action="job.retry",
        queued_at=Now() if ready else None,
        released=released or F("attempt"),  # what is released does not count; the fence itself never goes back
        error=None,
        cancel_requested_at=None,
        cancel_reason="",
        not_before=None,
        stalled_since=None,
        stalls=0,
        reserved_on=None,
        ended_at=None,
        progress={},
    )
    _tell(job, reason)
    if ready:
        _fill_inputs(job)
        _ring_after_commit(job)


def prioritise_job(*, actor: Actor, job: Job, priority: int) -> Job:
    """Give a job that has not started another priority, -100 to 100; higher is claimed first."""
    require(actor, "job.prioritise", job)
    low, high = PRIORITIES
    if not low <= priority <= high:
        raise Conflict(f"{priority} is not a priority.", code="out_of_range", field="priority", limit=f"{low}..{high}")
    with transaction.atomic():
        rows = Job.objects.filter(pk=job.pk, state__in=[JobState.WAITING, JobState.QUEUED]).update(priority=priority)
        if not rows:
            raise Conflict(f"Job {job.pk} is past queueing.", code="already_started", field="state", limit="queued")
        record(
            actor=actor,
            action="job.prioritise",
            obj=job,
            before={"priority": job.priority},
            after={"priority": priority},
        )
    job.refresh_from_db()
    return job


# -- what workers do ------------------------------------------------------------------------------------------------
def claim_job(*, actor: Actor, node: Node, owner: str, queue: str) -> Job | None:
    """The best queued job of `queue` that fits what `node` has free, now running under `owner`; None if there is none.

    The node's row is locked, so that two threads of one worker do not both take its last free CPU; on PostgreSQL
    other nodes skip the row that this one looks at, on SQLite the write lock orders them. Where the node is kept free
    for a job that has waited long (apps/jobs/reservations.py), smaller ones behind it fill only what that leaves.
    """
    require(actor, "job.claim")
    while _worth_a_look(queue):
        with transaction.atomic():
            node = Node.objects.select_for_update().get(pk=node.pk)
            if node.held_at or node.short_disks:
                return None
            needs = ("need_cpus", "need_memory_bytes", "devices")
            free = free_on(node, Job.objects.filter(node=node, state=JobState.RUNNING).only(*needs))
            kept = kept_for(node)
            # A kind that this worker does not know yet, in the middle of an upgrade, is left to one that does.
            best = Job.objects.filter(
                _due(), claimable(free, kept), state=JobState.QUEUED, queue=queue, kind__in=list(KINDS)
            )
            skip = connection.features.has_select_for_update_skip_locked
            job = best.order_by("-priority", "id").select_for_update(skip_locked=skip, of=("self",)).first()
            if job is None:
                return None
            requester = actor_from_grant(job.grant)
            if requester is not None and allows(requester, "job.submit", job):
                return _take(actor, job, node, owner, devices_for(job, free_for(job, free, kept)) or [])
            _fail(actor, job, authority_gone(job))
    return None


def _due() -> Q:
    return Q(not_before__isnull=True) | Q(not_before__lte=Now())


def _worth_a_look(queue: str) -> bool:
    """A doorbell may be stale: look before taking the write lock, which on SQLite is everybody's."""
    return connection.vendor != "sqlite" or Job.objects.filter(state=JobState.QUEUED, queue=queue).exists()


def _take(actor: Actor, job: Job, node: Node, owner: str, devices: list[int]) -> Job:
    change_state(
        job,
        JobState.RUNNING,
        actor=actor.during(job.pk),
        guard={"attempt": job.attempt},
        attempt=job.attempt + 1,
        owner=owner,
        node=node,
        devices=devices,
        reserved_on=None,
        lease_until=Now() + timedelta(seconds=lease_seconds()),
        claimed_at=Now(),
        process=None,
        progress={},
        error=None,
    )
    _tell(job, f"Claimed by {node.name}, attempt {job.attempts_used}", node=node.name)
    return job


def renew_leases(*, actor: Actor, owner: str, jobs: Sequence[tuple[int, int]]) -> int:
    """Renew the lease of every (job, attempt) that `owner` still holds; returns how many. Telemetry: no audit."""
    require(actor, "job.report")
    held = Q()
    for pk, attempt in jobs:
        held |= Q(pk=pk, attempt=attempt)
    if not jobs:
        return 0
    return Job.objects.filter(held, owner=owner, state=JobState.RUNNING).update(
        lease_until=Now() + timedelta(seconds=lease_seconds())
    )


def report_events(*, actor: Actor, job: Job, events: Sequence[tuple[str, Mapping[str, Any]]], **snapshot: Any) -> None:
    """Append telemetry of this attempt and set `snapshot` (progress, process, log_lines) on the row.

    Raises StaleState when the job is no longer this owner's: it must kill its process and write nothing more.
    """
    require(actor, "job.report")
    with transaction.atomic():
        rows = _held(job).update(event_seq=F("event_seq") + len(events), **snapshot)
        if not rows:
            raise StaleState(f"Job {job.pk} is not held by attempt {job.attempt} any more.", field="attempt")
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
            actor=actor.during(job.pk),
            guard={"owner": job.owner, "attempt": job.attempt},
            digests={slot: artifact.pk for slot, artifact, *_ in outputs},
            ended_at=Now(),
            lease_until=None,
            result=dict(result),
        )
        JobOutput.objects.bulk_create(
            JobOutput(job=job, slot=slot, artifact=artifact, name=name, media_type=media_type, meta=dict(meta))
            for slot, artifact, name, media_type, meta in outputs
        )
        forget_checkpoint(job)
        _tell(job, "Outputs registered")
        _free_children(actor, job)
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
            _stall(actor, job, guard, error)
        elif retry and job.attempts_used < job.max_attempts:
            pause = retry_pause(job.attempts_used)
            _requeue(actor, job, guard, error=error, pause=pause, stalled_since=None, stalls=0)
        else:
            _fail(actor, job, error, guard=guard)
    return job


def _stall(actor: Actor, job: Job, guard: Mapping[str, Any], error: Mapping[str, Any]) -> None:
    """Queue the job again at no cost, or fail it when that has gone on for too long.

    A checkpoint that was stored meanwhile means that the job had got on: the time begins anew.
    """
    now, hours = database_now(), settings.ENV.stall_hours
    since, stalls = job.stalled_since or now, job.stalls
    if stalls and JobCheckpoint.objects.filter(job=job, created_at__gt=since).exists():
        since, stalls = now, 0
    if now - since >= timedelta(hours=hours):
        _fail(actor, job, stalled_for_too_long(error, hours), guard=guard)
        return
    fields: dict[str, Any] = {"released": F("released") + 1, "stalled_since": since, "stalls": stalls + 1}
    _requeue(actor, job, guard, error=error, pause=stall_pause(stalls + 1), counts=False, **fields)


def release_job(*, actor: Actor, job: Job, reason: str) -> Job:
    """Give the job back after a graceful stop: this attempt does not count."""
    require(actor, "job.finish")
    with transaction.atomic():
        _requeue(actor, job, {"owner": job.owner, "attempt": job.attempt}, reason=reason, released=F("released") + 1)
    return job


def end_cancelled(*, actor: Actor, job: Job) -> Job:
    """The worker has stopped the process of a job whose cancelling was asked for."""
    require(actor, "job.finish")
    with transaction.atomic():
        _cancel_running(actor, job, {"owner": job.owner, "attempt": job.attempt})
    return job


# -- what the dispatcher does ---------------------------------------------------------------------------------------
def recover_expired(*, actor: Actor, now: datetime | None = None, limit: int = 100) -> int:
    """Queue again, fail or cancel the jobs whose lease ran out; compare-and-set, so several dispatchers may run.

    `now`: the database's time that the caller has found to be no jump of its clock.
    """
    require(actor, "job.recover")
    late = {"lease_until__lt": now or Now()}
    expired = Job.objects.filter(state=JobState.RUNNING, **late)[:limit]
    return sum(_lose(actor, job, worker_lost(job, lease_seconds()), late) for job in expired)


def recover_abandoned(*, actor: Actor, place: str, is_gone: Callable[[Job], bool]) -> int:
    """The same for the jobs whose worker's process has ended, as `is_gone` finds: no lease has to run out for these.

    `place`: what the owners of the jobs have in their names whose processes the caller can see.
    """
    require(actor, "job.recover_abandoned")
    running = Job.objects.filter(state=JobState.RUNNING, owner__contains=place).order_by("pk")
    gone = [job.pk for job in running.only("id", "owner", "process") if is_gone(job)]
    if not gone:
        return 0
    abandoned = Job.objects.filter(pk__in=gone, state=JobState.RUNNING).select_related("node")
    return sum(_lose(actor, job, worker_gone(job), {}) for job in abandoned if is_gone(job))


def _lose(actor: Actor, job: Job, error: Mapping[str, Any], more: Mapping[str, Any]) -> int:
    """End an attempt without its worker; 1 if it did. The first loss of a job is no reason for a pause."""
    guard = {"owner": job.owner, "attempt": job.attempt, **more}
    try:
        with transaction.atomic():
            if job.cancel_requested_at:
                _cancel_running(actor, job, guard)
            elif job.attempts_used < job.max_attempts:
                pause = retry_pause(job.attempts_used - 1)
                _requeue(actor, job, guard, error=error, pause=pause, stalled_since=None, stalls=0)
            else:
                _fail(actor, job, error, guard=guard)
    except StaleState:  # it came back, or another dispatcher was faster
        return 0
    return 1


def correct_future_times(*, actor: Actor, now: datetime, longest_lease: float) -> int:
    """Shorten leases and pauses that a clock set back has left in the far future; returns how many.

    They would else keep a lost job, or one that pauses, for as long as the clock was set back.
    """
    require(actor, "job.recover")
    lease_end = now + timedelta(seconds=longest_lease)
    leases = Job.objects.filter(state=JobState.RUNNING, lease_until__gt=lease_end)
    pause_end = now + timedelta(seconds=60 + 2 * settings.ENV.retry_limit_seconds)
    pauses = Job.objects.filter(state=JobState.QUEUED, not_before__gt=pause_end)
    corrected = leases.update(lease_until=now + timedelta(seconds=lease_seconds()))
    return corrected + pauses.update(not_before=now)


def free_waiting(*, actor: Actor, limit: int = 100) -> int:
    """Move on the waiting jobs whose parents have all ended: what `succeed_job` does, for whoever was missed."""
    require(actor, "job.recover")
    open_parent = JobParent.objects.filter(child=OuterRef("pk")).exclude(parent__state__in=ENDED)
    moved = 0
    for job in Job.objects.filter(~Exists(open_parent), state=JobState.WAITING).order_by("pk")[:limit]:
        with transaction.atomic():
            moved += _free(actor, job)
    return moved


def requeue_repaired(*, actor: Actor, limit: int = 100) -> int:
    """Queue the jobs again that failed on a damaged input whose bytes have come again since.

    The attempt that failed does not count. A job goes on once for each repair: one that finds its input damaged again
    waits for the next. An attempt that began before the repair had read the damaged bytes, whenever it failed.
    """
    require(actor, "job.recover")
    taken = JobInput.objects.filter(job=OuterRef("pk"))
    failed = Job.objects.filter(
        Exists(taken.filter(artifact__restored_at__gt=OuterRef("claimed_at"))),
        ~Exists(taken.filter(artifact__damaged_at__isnull=False)),
        pk__in=JobInput.objects.filter(artifact__restored_at__isnull=False).values("job"),
        state=JobState.FAILED,
        error__code=ARTIFACT_DAMAGED,
    )
    moved = 0
    for job in failed.order_by("pk")[:limit]:
        try:
            with transaction.atomic():
                _revive(actor, job, "The damaged bytes of its input have come again", released=F("released") + 1)
            moved += 1
        except StaleState:  # somebody retried it, or another dispatcher was faster
            continue
    return moved


def queues_to_ring(*, actor: Actor) -> list[str]:
    """The queues that hold a job which may start now and that somebody serves: else messages would pile up."""
    require(actor, "job.recover")
    online = Node.objects.with_status().filter(online=True)  # type: ignore[misc]  # an annotation
    served = {queue for node in online for queue in node.queues}
    ready = Job.objects.filter(_due(), state=JobState.QUEUED)
    return [queue for queue in sorted(served) if ready.filter(queue=queue).exists()]


def ring_again(*, actor: Actor, queue: str) -> None:
    """Wake one more thread if jobs are left: who was woken and found work calls this, so that each wakes the next.

    A parent whose end frees a hundred jobs rings once for all of them; without this one thread would run them all,
    and the dispatcher would add one a second.
    """
    require(actor, "job.claim")
    if Job.objects.filter(_due(), state=JobState.QUEUED, queue=queue).exists():
        doorbell.ring(queue)


# -- shared steps ---------------------------------------------------------------------------------------------------
def _held(job: Job) -> Any:
    """The row, as long as this attempt holds it: the fence."""
    return Job.objects.filter(pk=job.pk, owner=job.owner, attempt=job.attempt, state=JobState.RUNNING)


def _tell(job: Job, reason: str, **more: str) -> None:
    """A state event for whoever watches; inside the transaction of the move, right after it.

    The move holds the row's lock and has read the row again, so the number needs no second look.
    """
    job.event_seq += 1
    Job.objects.filter(pk=job.pk).update(event_seq=job.event_seq)
    _state_event(job, reason, **more)


def _state_event(job: Job, reason: str, **more: str) -> None:
    event = JobEvent.objects.create(
        job=job,
        seq=job.event_seq,
        attempt=job.attempt,
        kind="state",
        payload={"state": job.state, "reason": reason, "at": timezone.now().isoformat(), **more},
    )
    notices.notice(event)


def _ring_after_commit(job: Job) -> None:
    transaction.on_commit(lambda: doorbell.ring(job.queue))


def _requeue(
    actor: Actor,
    job: Job,
    guard: Mapping[str, Any],
    *,
    error: Mapping[str, Any] | None = None,
    reason: str = "",
    pause: float = 0.0,
    counts: bool = True,
    **fields: Any,
) -> None:
    """Queue a running job again; one that somebody wants cancelled ends instead: the wish outlives the attempt.

    `counts`: whether `error` is one of the job, which costs it an attempt.
    """
    row = Job.objects.select_for_update(no_key=True).filter(pk=job.pk, state=JobState.RUNNING, **guard).first()
    if row is not None and row.cancel_requested_at:
        job.cancel_reason = row.cancel_reason
        _cancel_running(actor, job, guard)
        return
    reason = reason or str((error or {}).get("message", ""))
    change_state(
        job,
        JobState.QUEUED,
        actor=actor.during(job.pk),
        reason=reason,
        guard=guard,
        action="job.requeued",
        owner="",
        node=None,
        devices=[],
        lease_until=None,
        queued_at=Now(),
        not_before=Now() + timedelta(seconds=pause) if pause else None,
        error=dict(error) if error else None,
        **fields,
    )
    _tell(job, reason, **({"code": str(error.get("code"))} if error and counts else {"released": "yes"}))
    if not pause:
        _ring_after_commit(job)


def _fail(actor: Actor, job: Job, error: Mapping[str, Any], *, guard: Mapping[str, Any] | None = None) -> None:
    _end_failed(actor, job, error, guard)
    _fail_children(actor, job)


def _end_failed(actor: Actor, job: Job, error: Mapping[str, Any], guard: Mapping[str, Any] | None = None) -> None:
    message = str(error.get("message", ""))
    change_state(
        job,
        JobState.FAILED,
        actor=actor.during(job.pk),
        reason=message[:500],
        guard=guard,
        ended_at=Now(),
        lease_until=None,
        devices=[],
        error=dict(error),
    )
    _tell(job, message)


def _cancel_running(actor: Actor, job: Job, guard: Mapping[str, Any]) -> None:
    change_state(
        job,
        JobState.CANCELLED,
        actor=actor.during(job.pk),
        reason=job.cancel_reason,
        guard=guard,
        ended_at=Now(),
        lease_until=None,
        devices=[],
    )
    forget_checkpoint(job)
    _tell(job, job.cancel_reason or "Cancelled")
    _fail_children(actor, job)


def _free_children(actor: Actor, job: Job) -> None:
    """Each is locked, or two parents that succeed at once would each see the other still running."""
    waiting = Job.objects.filter(parent_links__parent=job, state=JobState.WAITING).order_by("pk")
    for child in waiting.select_for_update(of=("self",), no_key=True):
        _free(actor, child)


def _fail_children(actor: Actor, job: Job) -> None:
    """To the last generation of those that wait."""
    below = Descent(job, state=JobState.WAITING)
    for child, parent in below:
        try:
            _end_failed(actor, child, parent_failed(parent))
        except StaleState:  # cancelled meanwhile, or failed by another parent
            continue
        below.enter(child)


def _free(actor: Actor, job: Job) -> int:
    """Queue a waiting job if all its parents have succeeded, fail it if one has not; 1 if it moved."""
    states = set(Job.objects.filter(children_links__child=job).values_list("state", flat=True))
    if states - ENDED:
        return 0
    try:
        if states - {JobState.SUCCEEDED}:
            _fail(actor, job, parent_failed())
            return 1
        if missing := _fill_inputs(job):
            _fail(actor, job, output_missing(missing))
            return 1
        change_state(job, JobState.QUEUED, actor=actor, reason="Its parents have succeeded", queued_at=Now())
    except StaleState:  # another dispatcher, or the last of two parents, was faster
        return 0
    _tell(job, "Its parents have succeeded")
    _ring_after_commit(job)
    return 1


def _fill_inputs(job: Job) -> list[str]:
    """Put the parents' outputs into the slots that name them; returns the slots that stay empty."""
    empty = []
    for wanted in JobInput.objects.filter(job=job, source_job__isnull=False):
        made = JobOutput.objects.filter(job=wanted.source_job_id, slot=wanted.source_slot).first()
        if made:
            JobInput.objects.filter(pk=wanted.pk).update(artifact=made.artifact)
        else:
            empty.append(wanted.slot)
    return empty
