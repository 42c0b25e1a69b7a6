"""What people and tools ask for: to queue a job, to cancel it, to try it again, to let it go first."""

from __future__ import annotations

from django.db import transaction
from django.db.models import F
from django.db.models.functions import Now
from django.utils import timezone

from apps.core.actors import Actor
from apps.core.canonical import sha256_hex
from apps.core.errors import Conflict, StaleState
from apps.core.policy import require
from apps.platform.accounts.models import Project
from apps.platform.audit.services import change_state, record
from apps.platform.jobs.checkpoints import forget_checkpoint
from apps.platform.jobs.models import Job, JobInput, JobParent
from apps.platform.jobs.services.idempotency import build_key_conflict, find_by_idempotency_key, submit_once
from apps.platform.jobs.services.moves import (
    add_state_event,
    fail_children,
    fill_inputs,
    record_move,
    revive_job,
    ring_after_commit,
)
from apps.platform.jobs.spec_validation import serialize_spec
from apps.platform.jobs.states import JobState
from apps.platform.jobs.submission import Submission, choose_queue
from apps.platform.jobs.submission_validation import ValidatedSubmission, validate_submission
from deepseek.messages import Message

PRIORITIES = (-100, 100)


def submit_job(*, actor: Actor, project: Project, submission: Submission) -> tuple[Job, bool]:
    """Queue one job. Returns it and whether it is new: the same idempotency key finds the first one.

    Raises Invalid with every error of the submission, Conflict if the key was used for something else.
    """
    require(actor, "job.submit", project)
    return submit_once(
        find_first=lambda: _find_first_job(actor, project, submission),
        validate=lambda: validate_submission(actor, project, submission),
        insert=lambda checked: _insert(actor, project, submission, checked),
    )


def _find_first_job(actor: Actor, project: Project, submission: Submission) -> Job | None:
    key = submission.idempotency_key
    job = find_by_idempotency_key(Job.objects.all(), actor=actor, project_id=project.pk, key=key)
    if job and job.idempotency_digest != submission.digest():
        raise build_job_key_conflict(job)
    return job


def build_job_key_conflict(job: Job) -> Conflict:
    """The error of a key with which this job was submitted, by another request."""
    return build_key_conflict(
        Message(
            "Idempotency-Key {idempotency_key!r} was used for another request (job {job_pk}).",
            idempotency_key=job.idempotency_key,
            job_pk=job.pk,
        )
    )


def _insert(actor: Actor, project: Project, submission: Submission, checked: ValidatedSubmission) -> Job:
    # No lock: success is final, and one that ends between this look and the child's row leaves a waiting job whose
    # parents have all ended, which the dispatcher's next round moves on.
    parents = Job.objects.in_bulk(list(checked.parents))
    ready = all(parent.state == JobState.SUCCEEDED for parent in parents.values())
    needs, spec = checked.needs, serialize_spec(checked.spec)
    job = Job.objects.create(
        project=project,
        kind=submission.kind,
        name=submission.name,
        spec=spec,
        spec_digest=sha256_hex(spec),
        register=dict(submission.register),
        state=JobState.QUEUED if ready else JobState.WAITING,
        queue=choose_queue(checked.kind, needs),
        priority=submission.priority,
        need_cpus=needs.cpus,
        need_memory_bytes=needs.memory_bytes,
        need_gpus=needs.gpus,
        need_gpu_memory_bytes=needs.gpu_memory_bytes,
        need_nodes=needs.nodes,
        need_extra=needs.extra,
        need_labels=needs.labels,
        time_limit_seconds=submission.time_limit_seconds or checked.kind.time_limit_seconds,
        max_attempts=submission.max_attempts or checked.kind.max_attempts,
        grant={**actor.as_record(), "scopes": sorted(actor.scopes) if actor.scopes is not None else None},
        requester=actor.label,
        idempotency_key=submission.idempotency_key,
        idempotency_digest=submission.digest() if submission.idempotency_key else "",
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
        for i in checked.inputs
    )
    JobParent.objects.bulk_create(JobParent(parent_id=pk, child=job) for pk in parents)
    if ready and parents:
        fill_inputs(job)
    record(
        actor=actor,
        action="job.submit",
        obj=job,
        after={"kind": job.kind, "state": job.state, "spec": job.spec_digest, "parents": sorted(parents)},
        digests={i.slot: i.digest for i in checked.inputs if i.digest},
    )
    add_state_event(job, Message("Submitted by {actor_label}", actor_label=actor.label))
    if ready:
        ring_after_commit(job)
    return job


def cancel_job(*, actor: Actor, job: Job, reason: str = "") -> Job:
    """Cancel: at once if it has not started, else by asking its worker, which looks twice a second."""
    require(actor, "job.cancel", job)
    while True:
        if job.ended:
            raise Conflict(
                "Job {job_pk} has ended already: {job_state}.",
                job_pk=job.pk,
                job_state=job.state,
                code="already_ended",
                field="state",
            )
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
    running = Job.objects.filter(pk=job.pk, state=JobState.RUNNING)
    if running.filter(cancel_requested_at__isnull=True).update(cancel_requested_at=Now(), cancel_reason=reason[:500]):
        record(actor=actor, action="job.cancel", obj=job, reason=reason, after={"cancel_requested": True})
    elif not running.exists():
        raise StaleState("Job {job_pk} does not run any more.", job_pk=job.pk, field="state")
    job.refresh_from_db()


def _cancel(actor: Actor, job: Job, reason: str) -> None:
    change_state(job, JobState.CANCELLED, actor=actor, reason=reason, ended_at=Now(), cancel_reason=reason[:500])
    forget_checkpoint(job)
    record_move(job, reason or Message("Cancelled by {actor_label}", actor_label=actor.label))
    fail_children(actor, job)


def retry_job(*, actor: Actor, job: Job, reason: str = "") -> Job:
    """Queue a failed or cancelled job again, with a fresh allowance of attempts; its failed children wait again.

    A queued job that pauses before its next attempt begins it at once instead.
    """
    require(actor, "job.retry", job)
    if job.is_pausing:
        with transaction.atomic():
            _end_pause(actor, job, reason or Message("Retried by {actor_label}", actor_label=actor.label))
        return job
    if job.state not in (JobState.FAILED, JobState.CANCELLED):
        raise Conflict(
            "Job {job_pk} is {job_state}; only a failed or cancelled job is retried.",
            job_pk=job.pk,
            job_state=job.state,
            code="not_retryable",
            field="state",
            limit="failed, cancelled",
        )
    with transaction.atomic():
        revive_job(actor, job, reason or Message("Retried by {actor_label}", actor_label=actor.label))
    return job


def _end_pause(actor: Actor, job: Job, reason: str) -> None:
    pausing = Job.objects.filter(pk=job.pk, state=JobState.QUEUED, attempt=job.attempt, not_before__isnull=False)
    before = {"not_before": job.not_before}
    if not pausing.update(not_before=None, event_seq=F("event_seq") + 1):
        raise StaleState("Job {job_pk} does not pause any more.", job_pk=job.pk, field="state")
    job.refresh_from_db()
    record(actor=actor, action="job.retry", obj=job, reason=reason, before=before, after={"not_before": None})
    add_state_event(job, reason)
    ring_after_commit(job)


def prioritise_job(*, actor: Actor, job: Job, priority: int) -> Job:
    """Give a job that has not started another priority, -100 to 100; higher is claimed first."""
    require(actor, "job.prioritise", job)
    low, high = PRIORITIES
    if not low <= priority <= high:
        raise Conflict(
            "{priority} is not a priority.",
            priority=priority,
            code="out_of_range",
            field="priority",
            limit=f"{low}..{high}",
        )
    with transaction.atomic():
        rows = Job.objects.filter(pk=job.pk, state__in=[JobState.WAITING, JobState.QUEUED]).update(priority=priority)
        if not rows:
            raise Conflict(
                "Job {job_pk} is past queueing.", job_pk=job.pk, code="already_started", field="state", limit="queued"
            )
        record(
            actor=actor,
            action="job.prioritise",
            obj=job,
            before={"priority": job.priority},
            after={"priority": priority},
        )
    job.refresh_from_db()
    return job
