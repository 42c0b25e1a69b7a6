"""All writes of reruns: submit one, evaluate it when its job has ended, reopen it when the job is retried."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from django.db import transaction
from django.db.models import Q
from django.db.models.functions import Now

from apps.core.actors import Actor
from apps.core.errors import StaleState
from apps.core.policy import require
from apps.ml.experiments.models import Run
from apps.ml.experiments.services import get_end_reason
from apps.ml.experiments.states import ENDED as RUN_ENDED
from apps.ml.reruns.models import Rerun
from apps.ml.reruns.preflight import build_deleted_error, build_submission, check_slot, run_preflight
from apps.ml.reruns.series import Budget, Interrupted
from apps.ml.reruns.states import RerunState, Verdict
from apps.ml.reruns.tolerance import Tolerance
from apps.ml.reruns.verdicts import build_verdict
from apps.platform.audit.services import change_state, record
from apps.platform.jobs.models import Job
from apps.platform.jobs.services import submit_job
from apps.platform.jobs.services.idempotency import find_by_idempotency_key
from apps.platform.jobs.services.requests import build_job_key_conflict
from apps.platform.jobs.states import ENDED as JOB_ENDED
from apps.platform.jobs.states import JobState
from apps.platform.lineage.ends import EdgeSpec, End
from apps.platform.lineage.services import record_edges
from deepseek.messages import Message, record_messages, restore_message

log = logging.getLogger(__name__)


# -- ask for one ------------------------------------------------------------------------------------------------------
def rerun_run(
    *,
    actor: Actor,
    run: Run,
    tolerance: Tolerance,
    priority: int = 0,
    idempotency_key: str | None = None,
) -> tuple[Rerun, bool]:
    """Queue a job that makes this run again from its record. Returns the rerun and whether it is new.

    Raises Conflict for a run that has not ended, is deleted or was recorded from outside, Invalid naming slot and
    digest of each input whose bytes are gone or damaged, Conflict for a key that was used for something else.
    """
    require(actor, "run.rerun", run)
    first = find_rerun_by_key(actor, run, tolerance, idempotency_key)
    if first is not None:
        return first, False
    outlook = run_preflight(actor, run)
    if outlook.refusal is not None:
        raise outlook.refusal
    submission = build_submission(run, priority=priority, idempotency_key=idempotency_key)
    with transaction.atomic():
        if Run.objects.select_for_update(no_key=True).filter(pk=run.pk, deleted_at=None).only("pk").first() is None:
            raise build_deleted_error(run)  # meanwhile; a purge takes this lock before it looks for reruns
        job, is_new = submit_job(actor=actor, project=run.project, submission=submission)
        if not is_new:  # the same key at the same instant
            return check_same_request(Rerun.objects.filter(job=job).first(), run, tolerance, job), False
        rerun = Rerun.objects.create(
            project=run.project,
            original=run,
            job=job,
            relative=tolerance.relative,
            absolute=tolerance.absolute,
            foreseen=[difference.as_dict() for difference in outlook.differing],
            requester=actor.label,
        )
        record(
            actor=actor,
            action="run.rerun",
            obj=run,
            after={"rerun": rerun.pk, "job": job.pk, **tolerance.as_dict(), "foreseen": len(outlook.differing)},
            digests={"code": run.code_digest, "spec": run.spec_digest, **run.inputs},
        )
    return rerun, True


def find_rerun_by_key(actor: Actor, run: Run, tolerance: Tolerance, key: str | None) -> Rerun | None:
    job = find_by_idempotency_key(Job.objects.all(), actor=actor, project_id=run.project_id, key=key)
    return check_same_request(Rerun.objects.filter(job=job).first(), run, tolerance, job) if job else None


def check_same_request(rerun: Rerun | None, run: Run, tolerance: Tolerance, job: Job) -> Rerun:
    expected = (run.pk, tolerance.relative, tolerance.absolute)
    if rerun is None or (rerun.original_id, rerun.relative, rerun.absolute) != expected:
        raise build_job_key_conflict(job)
    return rerun


# -- judge it ---------------------------------------------------------------------------------------------------------
def evaluate_ended_reruns(
    *, actor: Actor, only: int | None = None, limit: int = 100, stopping: Callable[[], bool] = lambda: False
) -> int:
    """Judge the open reruns whose jobs have ended, or the one of the id `only`; how many were judged.

    Compare-and-set, so several dispatchers may run.
    """
    require(actor, "run.judge")
    count = 0
    reruns = Rerun.objects.filter(state=RerunState.RUNNING, job__state__in=JOB_ENDED)
    # A run that is open is closed, or goes on, first: a cancelled job's by the dispatcher, an original's by its retry.
    reruns = reruns.filter(Q(job__run=None) | Q(job__run__state__in=RUN_ENDED), original__state__in=RUN_ENDED)
    reruns = reruns if only is None else reruns.filter(pk=only)
    for rerun in reruns.select_related("job", "original__job").order_by("job_id")[:limit]:
        try:
            evaluate_rerun(actor, rerun, stopping)
            count += 1
        except Interrupted:
            break
        except StaleState:  # tried again, or another dispatcher was faster
            continue
    return count


def evaluate_rerun(actor: Actor, rerun: Rerun, stopping: Callable[[], bool]) -> None:
    """Close one. The points are read outside any transaction: there may be millions."""
    job, original = rerun.job, rerun.original
    run = Run.objects.select_related("job").filter(job=job).first()
    if job.state == JobState.CANCELLED:
        close_rerun(
            actor,
            rerun,
            RerunState.CANCELLED,
            document={"error": {"message": get_end_reason(job) or Message("Cancelled")}},
        )
    elif run is None or (run.state != original.state and job.state == JobState.FAILED):
        close_rerun(actor, rerun, RerunState.FAILED, document=describe_failure(actor, rerun))
    else:
        tolerance = Tolerance(relative=rerun.relative, absolute=rerun.absolute)
        document = build_verdict(original, run, tolerance, Budget(stopping=stopping))
        guard = {"original__state": original.state, "original__metrics_digest": original.metrics_digest}
        close_rerun(actor, rerun, RerunState.JUDGED, document=document, guard=guard)


def describe_failure(actor: Actor, rerun: Rerun) -> dict[str, Any]:
    """Why there is nothing to judge: what the job says, and which of its inputs are not whole by now."""
    slots = [check_slot(actor, rerun.original, slot, digest) for slot, digest in sorted(rerun.original.inputs.items())]
    return {"error": dict(rerun.job.error or {}), "inputs": [slot.fault for slot in slots if slot.fault]}


def close_rerun(
    actor: Actor, rerun: Rerun, state: str, *, document: dict[str, Any], guard: dict[str, Any] | None = None
) -> None:
    word = document.get("verdict", "")
    digests = {f"metrics_{side}": digest for side, digest in document.get("digests", {}).items() if digest}
    with transaction.atomic():
        # Beside the record, which holds the word and the digests: a document names up to a hundred series and files.
        Rerun.objects.filter(pk=rerun.pk, state=rerun.state).update(document=record_messages(document))
        change_state(
            rerun,
            state,
            actor=actor.with_job(rerun.job_id),
            reason=get_record_reason(document),
            guard={"job__state": rerun.job.state, "job__attempt": rerun.job.attempt, **(guard or {})},
            action=f"run.rerun_{state}",
            digests=digests,
            verdict=word,
            judged_at=Now(),
        )


def get_record_reason(document: dict[str, Any]) -> str:
    """What the record says of a verdict: the inputs that differ, or why there is none."""
    if "verdict" not in document:
        return restore_message(document["error"])
    differing = [" ".join(filter(None, (difference["kind"], difference["name"]))) for difference in document["inputs"]]
    if differing:
        return f"Differs: {', '.join(differing)}"[:500]
    return (
        Message("No recorded input differs") if document["verdict"] != Verdict.IDENTICAL else Message("Equal by digest")
    )


# -- what workers do --------------------------------------------------------------------------------------------------
def reopen_rerun(*, actor: Actor, job: Job) -> Rerun | None:
    """Open the rerun of a job that is tried again after it was closed. Call it where the attempt holds the job."""
    require(actor, "run.record", job)
    rerun = Rerun.objects.filter(job=job).exclude(state=RerunState.RUNNING).first()
    if rerun is None:
        return None
    with transaction.atomic():
        Rerun.objects.filter(pk=rerun.pk).update(document={})
        reason = Message("Attempt {attempt} of job {job_pk}", attempt=job.attempt, job_pk=job.pk)
        return change_state(
            rerun,
            RerunState.RUNNING,
            actor=actor,
            reason=reason,
            action="run.rerun_again",
            verdict="",
            judged_at=None,
        )


def link_rerun(*, actor: Actor, job: Job, run: Run) -> None:
    """The edge from the original to the run that made it again; in the transaction that ends the job."""
    require(actor, "run.record", run)
    rerun = Rerun.objects.filter(job=job).select_related("original").first()
    if rerun is None:
        return
    was, now = rerun.original, run
    edge = EdgeSpec.between(
        End("run", was.pk, digest=was.metrics_digest, label=was.name),
        End("run", now.pk, digest=now.metrics_digest, label=now.name),
        "rerun",
    )
    record_edges(actor=actor, project=run.project, edges=[edge])
