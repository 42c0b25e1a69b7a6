"""The moves of a job that several of these services make, each with its event; inside the caller's transaction."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import Any

from django.db import transaction
from django.db.models import F
from django.db.models.functions import Now
from django.utils import timezone

from apps.core.actors import Actor
from apps.core.errors import StaleState
from apps.platform.audit.services import change_state
from apps.platform.jobs import notices
from apps.platform.jobs.checkpoints import forget_checkpoint
from apps.platform.jobs.descendants import Descendants
from apps.platform.jobs.errors import PARENT_FAILED, output_missing, parent_failed
from apps.platform.jobs.failure_notices import notify_of_failure
from apps.platform.jobs.kinds import KINDS
from apps.platform.jobs.models import Job, JobEvent, JobInput, JobMember, JobOutput, JobReservation
from apps.platform.jobs.scheduling import doorbell
from apps.platform.jobs.states import ENDED, OPEN_MEMBERS, JobState, MemberState
from apps.platform.jobs.submission import takes_files
from deepseek.messages import Message, record_messages, restore_message


def filter_current_attempt(job: Job) -> Any:
    """Filter for the job's row while this attempt holds it: the fence of telemetry (final states: `guard`)."""
    return Job.objects.filter(pk=job.pk, owner=job.owner, attempt=job.attempt, state=JobState.RUNNING)


def revive_job(actor: Actor, job: Job, reason: str, *, released: Any = None) -> None:
    """The job first, then the descendants that failed with it, as `fail_children` goes down."""
    queue_again(actor, job, reason, released=released)
    below = Descendants(job, state=JobState.FAILED, error__code=PARENT_FAILED)
    for child, parent in below:
        try:
            queue_again(actor, child, Message("Job {parent_pk} is tried again", parent_pk=parent.pk))
        except StaleState:  # somebody else has moved it meanwhile
            continue
        below.enter(child)


def queue_again(actor: Actor, job: Job, reason: str, *, released: Any = None) -> None:
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
    record_move(job, reason)
    if ready:
        fill_inputs(job)
        ring_after_commit(job)


def record_move(job: Job, reason: str, **more: str) -> None:
    """A state event for whoever watches; inside the transaction of the move, right after it.

    The move holds the row's lock and has read the row again, so the number needs no second look.
    """
    job.event_seq += 1
    Job.objects.filter(pk=job.pk).update(event_seq=job.event_seq)
    add_state_event(job, reason, **more)


def add_state_event(job: Job, reason: str, **more: str) -> None:
    event = JobEvent.objects.create(
        job=job,
        seq=job.event_seq,
        attempt=job.attempt,
        kind="state",
        payload={"state": job.state, **record_messages({"reason": reason}), "at": timezone.now().isoformat(), **more},
    )
    notices.queue_notice(event)


def ring_after_commit(job: Job) -> None:
    transaction.on_commit(lambda: doorbell.ring(job.queue))


def requeue_running(
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
        cancel_running(actor, job, guard)
        return
    reason = reason or restore_message(error or {})
    change_state(
        job,
        JobState.QUEUED,
        actor=actor.with_job(job.pk),
        reason=reason,
        guard=guard,
        action="job.requeued",
        owner="",
        node=None,
        devices=[],
        lease_until=None,
        queued_at=Now(),
        not_before=Now() + timedelta(seconds=pause) if pause else None,
        error=record_messages(error) if error else None,
        **fields,
    )
    end_members(actor, job)
    record_move(job, reason, **({"code": str(error.get("code"))} if error and counts else {"released": "yes"}))
    if not pause:
        ring_after_commit(job)


def fail_job(actor: Actor, job: Job, error: Mapping[str, Any], *, guard: Mapping[str, Any] | None = None) -> None:
    end_failed(actor, job, error, guard)
    fail_children(actor, job)


def end_failed(actor: Actor, job: Job, error: Mapping[str, Any], guard: Mapping[str, Any] | None = None) -> None:
    message = restore_message(error)
    change_state(
        job,
        JobState.FAILED,
        actor=actor.with_job(job.pk),
        reason=message,
        guard=guard,
        ended_at=Now(),
        lease_until=None,
        devices=[],
        error=record_messages(error),
    )
    end_members(actor, job)
    record_move(job, message)
    if error.get("code") != PARENT_FAILED:
        notify_of_failure(job)


def cancel_running(actor: Actor, job: Job, guard: Mapping[str, Any]) -> None:
    change_state(
        job,
        JobState.CANCELLED,
        actor=actor.with_job(job.pk),
        reason=job.cancel_reason,
        guard=guard,
        ended_at=Now(),
        lease_until=None,
        devices=[],
    )
    end_members(actor, job)
    forget_checkpoint(job)
    record_move(job, job.cancel_reason or "Cancelled")
    fail_children(actor, job)


def end_members(actor: Actor, job: Job) -> None:
    """Let go of the nodes of an attempt over several that has just ended; inside the transaction of that move.

    Whoever runs a member sees it within half a second and ends its engine.
    """
    if job.need_nodes == 1:
        return
    JobReservation.objects.filter(job=job).delete()
    for member in JobMember.objects.filter(job=job, attempt=job.attempt, state__in=OPEN_MEMBERS).order_by("rank"):
        try:
            change_state(member, MemberState.ENDED, actor=actor.with_job(job.pk), ended_at=Now(), lease_until=None)
        except StaleState:  # its worker was faster with its own end
            continue


def free_children(actor: Actor, job: Job) -> None:
    """Each is locked, or two parents that succeed at once would each see the other still running."""
    waiting = Job.objects.filter(parent_links__parent=job, state=JobState.WAITING).order_by("pk")
    for child in waiting.select_for_update(of=("self",), no_key=True):
        free_job(actor, child)


def fail_children(actor: Actor, job: Job) -> None:
    """To the last generation of those that wait."""
    below = Descendants(job, state=JobState.WAITING)
    for child, parent in below:
        try:
            end_failed(actor, child, parent_failed(parent))
        except StaleState:  # cancelled meanwhile, or failed by another parent
            continue
        below.enter(child)


def free_job(actor: Actor, job: Job) -> int:
    """Queue a waiting job if all its parents have succeeded, fail it if one has not; 1 if it moved."""
    states = set(Job.objects.filter(children_links__child=job).values_list("state", flat=True))
    if states - ENDED:
        return 0
    try:
        if states - {JobState.SUCCEEDED}:
            fail_job(actor, job, parent_failed())
            return 1
        if missing := fill_inputs(job):
            fail_job(actor, job, output_missing(missing))
            return 1
        change_state(job, JobState.QUEUED, actor=actor, reason=Message("Its parents have succeeded"), queued_at=Now())
    except StaleState:  # another dispatcher, or the last of two parents, was faster
        return 0
    record_move(job, Message("Its parents have succeeded"))
    ring_after_commit(job)
    return 1


def fill_inputs(job: Job) -> list[str]:
    """Put the parents' outputs into the slots that name them; returns the slots that stay empty.

    A table in parts has an output for each, SLOT/path, which becomes an input of its own in the place of the slot. A
    slot that takes one file stays empty then.
    """
    empty, kind = [], KINDS[job.kind]
    for job_input in JobInput.objects.filter(job=job, source_job__isnull=False):
        outputs = JobOutput.objects.filter(job=job_input.source_job_id)
        output = outputs.filter(slot=job_input.source_slot).first()
        if output:
            JobInput.objects.filter(pk=job_input.pk).update(artifact=output.artifact)
        elif not takes_files(kind, job_input.slot) or not fill_parts(
            job_input, outputs.filter(slot__startswith=f"{job_input.source_slot}/").order_by("pk")
        ):
            empty.append(job_input.slot)
    return empty


def fill_parts(job_input: JobInput, parts: Iterable[JobOutput]) -> bool:
    """Replace the input by one for each part of the table; whether there are any."""
    inputs = [
        JobInput(
            job_id=job_input.job_id,
            slot=f"{job_input.slot}{part.slot.removeprefix(job_input.source_slot)}",
            artifact_id=part.artifact_id,
            source_job_id=job_input.source_job_id,
            source_slot=part.slot,
        )
        for part in parts
    ]
    if inputs:
        JobInput.objects.bulk_create(inputs)
        job_input.delete()
    return bool(inputs)
