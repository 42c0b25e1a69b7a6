"""Every write of pipelines: submit one, cancel it whole, run it again from a step on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.db import transaction

from apps.core.actors import Actor
from apps.core.canonical import sha256_hex
from apps.core.errors import Conflict, Invalid
from apps.core.policy import require
from apps.ml.pipelines.checks import (
    build_unknown_step_error,
    check_steps,
    find_descendants,
    find_needed_steps,
    prefix_errors,
)
from apps.ml.pipelines.models import Pipeline, PipelineStep
from apps.ml.pipelines.schemas import PipelineRequest, StepBody, StepInputBody, list_stored_steps
from apps.platform.accounts.models import Project
from apps.platform.audit.services import record
from apps.platform.jobs.models import Job
from apps.platform.jobs.services import cancel_job, submit_job
from apps.platform.jobs.services.idempotency import build_key_conflict, find_by_idempotency_key, submit_once
from apps.platform.jobs.spec_validation import combine_errors
from apps.platform.jobs.states import ENDED, JobState
from deepseek.messages import N_, Message


# -- submit ---------------------------------------------------------------------------------------------------------
def submit_pipeline(*, actor: Actor, project: Project, request: PipelineRequest) -> tuple[Pipeline, bool]:
    """Queue a job for each step, all or none. Returns the pipeline and whether it is new: a key finds its first one.

    Raises Invalid with every error of every step, Conflict if the key was used for something else.
    """
    require(actor, "pipeline.submit", project)
    return submit_once(
        find_first=lambda: _find_first_pipeline(actor, project, request),
        validate=lambda: check_steps(actor, project, request.steps, request.name),
        insert=lambda ordered: _insert(actor, project, request, ordered),
    )


def _find_first_pipeline(actor: Actor, project: Project, request: PipelineRequest) -> Pipeline | None:
    key = request.idempotency_key
    if key is not None and not 1 <= len(key) <= 255:
        raise Invalid("Idempotency-Key has 1 to 255 characters.", code="too_long", field="Idempotency-Key", limit=255)
    pipeline = find_by_idempotency_key(Pipeline.objects.all(), actor=actor, project_id=project.pk, key=key)
    if pipeline and pipeline.document != request.document():
        raise build_key_conflict(
            Message(
                "Idempotency-Key {key!r} was used for another request (pipeline {pipeline_pk}).",
                key=key,
                pipeline_pk=pipeline.pk,
            )
        )
    return pipeline


def _insert(actor: Actor, project: Project, request: PipelineRequest, ordered: list[StepBody]) -> Pipeline:
    """The row first: whoever comes with the same key waits here, before a job of theirs is made."""
    text = request.document()
    pipeline = Pipeline.objects.create(
        project=project,
        name=request.name,
        template=request.template,
        document=text,
        document_digest=sha256_hex(text),
        requester=actor.label,
        idempotency_key=request.idempotency_key,
        rerun_of=request.rerun_of,
        rerun_from=request.rerun_from,
    )
    jobs = _make_jobs(actor, project, request, ordered)
    PipelineStep.objects.bulk_create(
        PipelineStep(pipeline=pipeline, name=step.name, position=position, job_id=jobs[step.name])
        for position, step in enumerate(ordered)
    )
    record(
        actor=actor,
        action="pipeline.submit",
        obj=pipeline,
        after={
            "name": request.name,
            "template": request.template,
            "jobs": jobs,
            "rerun_of": request.rerun_of and request.rerun_of.pk,
        },
        digests={"document": pipeline.document_digest},
    )
    return pipeline


def _make_jobs(actor: Actor, project: Project, request: PipelineRequest, ordered: list[StepBody]) -> dict[str, int]:
    """{step: id of its job}, made parents first, so that a child is always younger than its parents."""
    jobs: dict[str, int] = {}
    for step in ordered:
        try:
            job, _ = submit_job(actor=actor, project=project, submission=step.submission(jobs, request.name))
        except Invalid as failure:  # something has changed since the steps were checked
            raise combine_errors(prefix_errors(failure.errors, f"/steps/{request.steps.index(step)}")) from None
        jobs[step.name] = job.pk
    return jobs


# -- cancel ---------------------------------------------------------------------------------------------------------
def cancel_pipeline(*, actor: Actor, pipeline: Pipeline, reason: str = "") -> Pipeline:
    """Cancel every job that has not ended; those that run are asked to stop. Conflict if all have ended.

    All rows are locked before the first is cancelled, so that none is claimed or freed meanwhile, and in the order of
    their ids, as everybody goes down a pipeline (jobs/descendants.py). Then children first: a parent that goes first
    would fail its children instead.
    """
    require(actor, "pipeline.cancel", pipeline)
    with transaction.atomic():
        rows = Job.objects.select_for_update(of=("self",), no_key=True).filter(pipeline_step__pipeline=pipeline)
        jobs = list(rows.exclude(state__in=ENDED).order_by("pk"))
        if not jobs:
            raise Conflict(
                "Pipeline {pipeline_pk} has ended already.",
                pipeline_pk=pipeline.pk,
                code="already_ended",
                field="state",
            )
        record(
            actor=actor, action="pipeline.cancel", obj=pipeline, reason=reason, after={"jobs": [job.pk for job in jobs]}
        )
        for job in reversed(jobs):
            cancel_job(actor=actor, job=job, reason=reason)
    return pipeline


# -- run again ------------------------------------------------------------------------------------------------------
def rerun_from(
    *,
    actor: Actor,
    pipeline: Pipeline,
    step: str,
    changes: Mapping[str, Mapping[str, Any]] | None = None,
    idempotency_key: str | None = None,
) -> tuple[Pipeline, bool]:
    """A new pipeline of this step and all that waits for it; what they take from other steps is there already.

    `changes`: {step: fields of its spec that differ}, objects inside objects merged. Raises Conflict naming the steps
    whose outputs are needed and that have not succeeded, Invalid for names and specs of nonsense.
    """
    require(actor, "pipeline.submit", pipeline)
    steps = list_stored_steps(pipeline)
    again = _select_rerun_steps(steps, step, changes or {})
    names, job_ids = {rerun_step.name for rerun_step in again}, dict(pipeline.steps.values_list("name", "job"))
    _require_succeeded(
        pipeline, find_needed_steps({rerun_step.name: rerun_step.parents() for rerun_step in again}, names)
    )
    request = PipelineRequest(
        steps=[_replace_inputs_by_jobs(rerun_step, names, job_ids) for rerun_step in again],
        name=pipeline.name,
        template=pipeline.template,
        rerun_of=pipeline,
        rerun_from=step,
        idempotency_key=idempotency_key,
    )
    try:
        return submit_pipeline(actor=actor, project=pipeline.project, request=request)
    except Invalid as failure:
        raise combine_errors(_point_errors_at_changes(failure.errors, request.steps, changes or {})) from None


def _select_rerun_steps(steps: list[StepBody], name: str, changes: Mapping[str, Mapping[str, Any]]) -> list[StepBody]:
    kinds = {step.name: step.kind for step in steps}
    if name not in kinds:
        raise combine_errors([build_unknown_step_error(name, "/from", kinds)])
    below = find_descendants({step.name: step.parents() for step in steps}, name)
    again = {step.name: step for step in steps if step.name in below}
    run = {step: kinds[step] for step in again}
    unknown = [
        build_unknown_step_error(changed, f"/changes/{changed[:60]}", run) for changed in changes if changed not in run
    ]
    if unknown:
        raise combine_errors(unknown)
    return [_replace_spec(step, changes.get(step.name, {})) for step in again.values()]


def _replace_spec(step: StepBody, changes: Mapping[str, Any]) -> StepBody:
    return step.model_copy(update={"spec": _merge_spec(step.spec, changes)}) if changes else step


def _merge_spec(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    """`old` with the values of `new`; an object in both is merged in the same way, anything else replaced."""
    both = {
        name: _merge_spec(old[name], value)
        if isinstance(value, Mapping) and isinstance(old.get(name), Mapping)
        else value
        for name, value in new.items()
    }
    return {**old, **both}


def _require_succeeded(pipeline: Pipeline, names: set[str]) -> None:
    """Conflict unless these steps of the pipeline have succeeded."""
    rows = pipeline.steps.filter(name__in=names).exclude(job__state=JobState.SUCCEEDED).order_by("position")
    lacking = list(rows.values_list("name", "job__state"))
    if lacking:
        summary = ", ".join(f"{name} ({state})" for name, state in lacking)
        raise Conflict(
            "Outputs are needed of steps that have not succeeded: {told}.",
            told=summary,
            code="step_not_succeeded",
            field="/from",
            limit=", ".join(name for name, _ in lacking),
            hint=N_("Wait for them, or run again from one of them."),
        )


def _replace_inputs_by_jobs(step: StepBody, again: set[str], job_ids: Mapping[str, int]) -> StepBody:
    """The step with the outputs of jobs in place of those of steps that do not run again."""
    inputs = {
        slot: StepInputBody(job=job_ids[step_input.step], slot=step_input.slot)
        if step_input.step and step_input.step not in again
        else step_input
        for slot, step_input in step.inputs.items()
    }
    return step.model_copy(update={"inputs": inputs, "after": [name for name in step.after if name in again]})


def _point_errors_at_changes(
    errors: list[dict[str, Any]], steps: list[StepBody], changes: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """Errors in a changed spec point at the change: nobody sent /steps."""
    sent = {f"/steps/{index}/spec": f"/changes/{step.name}" for index, step in enumerate(steps) if step.name in changes}
    pointed = []
    for error in errors:
        pointer = next(
            (sent_pointer for sent_pointer in sent if f"{error['field']}/".startswith(f"{sent_pointer}/")), None
        )
        replaced_fields = (
            {key: str(error[key]).replace(pointer, sent[pointer], 1) for key in ("field", "message")} if pointer else {}
        )
        pointed.append({**error, **replaced_fields})
    return pointed
