"""The dispatcher's round: every retraining that is due goes one step further, with the rights of whoever planned it.

A step submits its work and moves the state in one transaction under the lock of the retraining, so a process that is
killed has done both or neither, and the next one takes the same step once. What may take long (files of observations,
bytes of models) is read before it. Only the request for approval has transactions of its own: it is looked for first.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from django.db import transaction
from django.db.models import Sum

from apps.core.actors import Actor, PlaneRole, build_plane_actor
from apps.core.canonical import compute_digest
from apps.core.errors import Conflict, Invalid, PlaneError, StaleState
from apps.core.policy import require
from apps.data.datasets.models import DatasetVersion
from apps.fleet.monitoring.figures import filter_hours
from apps.fleet.monitoring.models import Retraining
from apps.fleet.monitoring.notices import notify_of_failed_retraining
from apps.fleet.monitoring.retraining.evidence import (
    FRESH,
    build_retraining_facts,
    list_evaluated_forms,
    list_golden_sets,
)
from apps.fleet.monitoring.retraining.recipe import Recipe, find_recipe, find_table
from apps.fleet.monitoring.retraining.states import RetrainingState
from apps.fleet.monitoring.services.retraining_datasets import train_on_dataset
from apps.fleet.monitoring.services.retraining_turns import (
    DATA_POLL,
    POLL,
    StepFailed,
    Turn,
    describe_job,
    describe_pipeline,
    describe_refusal,
    lock_step,
    move,
    require_key,
)
from apps.ml.observations.models import ObservationSource
from apps.ml.observations.services.datasets import MAX_PARTS, list_parts, name_slot
from apps.ml.observations.services.sealing import seal_period
from apps.ml.pipelines.models import PipelineStep
from apps.ml.pipelines.queries import count_steps_by_state
from apps.ml.pipelines.requests import read_pipeline_request
from apps.ml.pipelines.services import submit_pipeline
from apps.ml.pipelines.states import PipelineState
from apps.ml.registry.gates.verdicts import get_production_version, list_gates
from apps.ml.registry.models import Evaluation, EvaluationSet, ModelVersion
from apps.ml.registry.services.aliases import request_promotion
from apps.ml.registry.services.evaluations import create_evaluation_set, get_variant, submit_evaluation
from apps.ml.registry.states import SUBJECT
from apps.platform.accounts.actors import build_actor_from_grant
from apps.platform.approvals.models import Approval
from apps.platform.approvals.states import ApprovalState
from apps.platform.audit.services import change_state
from apps.platform.jobs.models import Job
from apps.platform.jobs.services import InputSpec, Submission, submit_job
from apps.platform.jobs.states import ENDED, JobState
from apps.platform.nodes.samples import get_database_now
from deepseek.messages import Message
from deepseek.retraining.spec import BASE

log = logging.getLogger(__name__)

KIND = "retraining_data"
PER_ROUND = 50
FAULT_PAUSE = timedelta(seconds=30)  # doubled by every fault in a row
MAX_FAULTS = 8  # some hour; then it has failed
MAX_SOURCES = 200
S = RetrainingState


def advance_retrainings(*, actor: Actor, stopping: Callable[[], bool] = lambda: False) -> int:
    """Take what is due one step further each; how many were looked at. A fault in one delays that one alone."""
    require(actor, "retraining.drive")
    now = get_database_now()
    due = Retraining.objects.filter(next_at__lte=now).order_by("next_at", "pk")
    keys = list(due.values_list("pk", flat=True)[:PER_ROUND])
    for pk in keys:
        if stopping():
            break
        advance_retraining(actor, pk, now)
    return len(keys)


def advance_retraining(actor: Actor, pk: int, now: datetime) -> None:
    rows = Retraining.objects.select_related(
        "project", "monitor__project", "monitor__model", "alarm", "model", "former__model__project"
    )
    retraining = rows.get(pk=pk)
    try:
        pause = take_step(actor, retraining, now)
    except StepFailed as failure:
        end_retraining(actor, retraining, S.FAILED, failure.message)
    except StaleState:  # another dispatcher took the step, or a person cancelled it
        return
    except PlaneError as failure:
        if failure.status >= 500:
            note_fault(actor, retraining, now, failure)
        else:
            end_retraining(actor, retraining, S.FAILED, describe_refusal(failure))
    except Exception as failure:
        log.exception("%s", retraining)
        note_fault(actor, retraining, now, failure)
    else:
        if pause is not None:
            unchanged = Retraining.objects.filter(pk=pk, state=retraining.state, next_at=retraining.next_at)
            unchanged.update(next_at=now + pause, faults=0)


def take_step(actor: Actor, retraining: Retraining, now: datetime) -> timedelta | None:
    """One step, which moves it and gives None; or how long nothing can be done."""
    if retraining.state == S.AWAITING_APPROVAL:  # whoever planned it may have left since
        return follow_approval(actor, retraining)
    owner = build_actor_from_grant(retraining.grant)
    if owner is None:
        raise StepFailed(Message("Whoever planned it may not do so any more: set the plan again."))
    former = retraining.former
    if former is None or former.deleted_at is not None:
        raise StepFailed(Message("The version that answered is gone."))
    owner = replace(owner, request_id=f"retraining-{retraining.pk}")
    turn = Turn(actor, owner, retraining, former, now)
    steps: dict[str, Callable[[Turn], timedelta | None]] = {
        S.QUEUED: collect_data,
        S.COLLECTING: start_training,
        S.TRAINING: start_evaluations,
        S.EVALUATING: weigh_evaluations,
        S.REQUESTING: ask_approvers,
    }
    return steps[retraining.state](turn)


# -- data -----------------------------------------------------------------------------------------------------------
def collect_data(turn: Turn) -> timedelta | None:
    """Once there are labels enough: the job that makes training data of them."""
    retraining, owner = turn.retraining, turn.owner
    if retraining.settings.get("dataset"):
        return train_on_dataset(turn)
    require(owner, "observation.make_dataset", retraining.project)
    recipe = find_recipe(owner, turn.former)
    hours = filter_hours(retraining.monitor, retraining.since, turn.now).filter(labelled__gt=0).order_by()
    count, least = hours.aggregate(count=Sum("labelled"))["count"] or 0, retraining.settings["min_rows"]
    if count < least and turn.now < retraining.deadline_at:
        return DATA_POLL
    if count < least:
        raise StepFailed(Message("{count} answers have labels, and {least} are needed.", count=count, least=least))
    keys = list(hours.values_list("source_id", flat=True).distinct().order_by("source_id")[: MAX_SOURCES + 1])
    check_sources(recipe, len(keys))
    sources = list(ObservationSource.objects.filter(pk__in=keys).order_by("pk"))
    for source in sources:  # outside of any transaction: it reads and writes files
        sealer = build_plane_actor(PlaneRole.WORKER)
        seal_period(actor=sealer, source=source, since=retraining.since, until=turn.now)
    submission = build_data_job(turn, recipe, sources)
    with transaction.atomic():
        lock_step(turn)
        job, _new = submit_job(actor=owner, project=retraining.project, submission=submission)
        move(turn, S.COLLECTING, data_job_id=job.pk, until=turn.now)
    return None


def check_sources(recipe: Recipe, count: int) -> None:
    if count > MAX_SOURCES:
        raise StepFailed(Message("More than {most} sources have labels.", most=MAX_SOURCES))
    if count > 1 and recipe.spec["task"] == "forecast":
        raise StepFailed(
            Message("{count} sources have labels, and a forecast is trained on one series: watch one.", count=count)
        )


def build_data_job(turn: Turn, recipe: Recipe, sources: list[ObservationSource]) -> Submission:
    retraining = turn.retraining
    inputs = [InputSpec(slot=BASE, digest=recipe.table.artifact_id)]
    for source in sources:
        parts = list_parts(source, retraining.since, turn.now)
        inputs += [InputSpec(slot=f"{name_slot(part)}-{source.pk}", digest=part.artifact_id) for part in parts]
    if len(inputs) > MAX_PARTS:
        raise StepFailed(Message("The period has more than {most} parts.", most=MAX_PARTS))
    settings = retraining.settings
    spec = {
        "model": retraining.model.name,
        "since": retraining.since.isoformat(),
        "until": turn.now.isoformat(),
        "task": recipe.spec["task"],
        "target": recipe.spec["target"],
        "features": recipe.features,
        "mode": settings["mode"],
        "fresh_share": settings["fresh_share"],
        "min_rows": settings["min_rows"],
        "context": recipe.context,
        "csv": recipe.csv,
    }
    return Submission(
        kind=KIND,
        spec=spec,
        inputs=inputs,
        register={"dataset": recipe.data_name, "fresh": recipe.fresh_name},
        name=f"{retraining.model.name}: data after alarm {retraining.alarm_id}"[:120],
        idempotency_key=f"retraining-{retraining.pk}-data",
    )


# -- training -------------------------------------------------------------------------------------------------------
def start_training(turn: Turn) -> timedelta | None:
    """Once the data is there: the pipeline that made the former version, with it."""
    retraining, owner = turn.retraining, turn.owner
    job = Job.objects.get(pk=require_key(retraining.data_job_id))
    if job.state not in ENDED:
        return POLL
    if job.state != JobState.SUCCEEDED:
        raise StepFailed(describe_job(job))
    recipe = find_recipe(owner, turn.former)
    data, fresh = find_made_version(job, "dataset", "table"), find_made_version(job, "fresh", "fresh")
    body = recipe.build_body(data, find_table(data))
    with transaction.atomic():
        lock_step(turn)
        fresh_set = make_fresh_set(turn, recipe, fresh)
        key = f"retraining-{retraining.pk}"
        request = read_pipeline_request(owner, retraining.project, body, idempotency_key=key)
        pipeline, _new = submit_pipeline(actor=owner, project=retraining.project, request=request)
        move(turn, S.TRAINING, data_id=data.pk, fresh_set_id=fresh_set.pk, pipeline_id=pipeline.pk)
    return None


def find_made_version(job: Job, key: str, slot: str) -> DatasetVersion:
    """The version that an output became. The same rows again are the version that there was."""
    artifact = job.outputs.values_list("artifact_id", flat=True).get(slot=slot)
    rows = DatasetVersion.objects.select_related("dataset__project").filter(
        dataset__project=job.project_id, dataset__name=job.register[key], files__artifact=artifact, deleted_at=None
    )
    version = rows.order_by("-number").first()
    if version is None:
        raise StepFailed(Message("The data of the job {job} was deleted.", job=job.pk))
    return version


def make_fresh_set(turn: Turn, recipe: Recipe, fresh: DatasetVersion) -> EvaluationSet:
    """What was held back as the next revision of an evaluation set."""
    project, name = turn.retraining.project, recipe.fresh_name
    current = EvaluationSet.objects.filter(project=project, name=name, superseded_at=None)
    if current.exclude(dataset_version__dataset=fresh.dataset_id).exists():
        raise StepFailed(Message("The evaluation set {name} is of other data: rename it.", name=name))
    return create_evaluation_set(
        actor=turn.owner,
        project=project,
        name=name,
        dataset_version=fresh,
        task=recipe.spec["task"],
        target=recipe.spec["target"],
        spec={"first_row": recipe.context} if recipe.context else {},
        description=Message("What was observed before a retraining, held back from it."),
        supersede=True,
    )


# -- evaluating -----------------------------------------------------------------------------------------------------
def start_evaluations(turn: Turn) -> timedelta | None:
    """Once the pipeline has succeeded: both versions on the fresh rows, on the golden sets, and for every gate."""
    pipeline_id = require_key(turn.retraining.pipeline_id)
    state = count_steps_by_state([pipeline_id])[pipeline_id].state
    if state == PipelineState.RUNNING:
        return POLL
    if state != PipelineState.SUCCEEDED:
        raise StepFailed(describe_pipeline(pipeline_id))
    version = find_new_version(turn)
    targets = list_targets(turn, version)
    with transaction.atomic():
        lock_step(turn)
        jobs = [submit_target(turn, *target) for target in targets]
        move(turn, S.EVALUATING, version_id=version.pk, evaluations=[job for job in jobs if job is not None])
    return None


def find_new_version(turn: Turn) -> ModelVersion:
    jobs = PipelineStep.objects.filter(pipeline=turn.retraining.pipeline_id).values("job")
    rows = ModelVersion.objects.select_related("model__project").filter(job_id__in=jobs, deleted_at=None)
    version = rows.filter(model=turn.retraining.model_id).first()
    if version is None:
        raise StepFailed(
            Message("Its pipeline registered no new version of {model}.", model=turn.retraining.model.name)
        )
    return version


def list_targets(turn: Turn, version: ModelVersion) -> list[tuple[ModelVersion, EvaluationSet, str]]:
    """(version, set, variant), each once."""
    fresh = EvaluationSet.objects.select_related("project", "dataset_version__dataset")
    key = turn.retraining.fresh_set_id  # None of one that trained on a dataset of its plan
    sets = [*([fresh.get(pk=key)] if key is not None else []), *list_golden_sets(turn.former)]
    targets = [(each, on, "") for on in sets for each in (turn.former, version)]
    targets += list_evaluated_forms(list_gates(version.model_id), turn.former, version, get_production_version(version))
    return list({(each.pk, on.pk, variant): (each, on, variant) for each, on, variant in targets}.values())


def submit_target(turn: Turn, version: ModelVersion, on: EvaluationSet, variant: str) -> dict[str, Any] | None:
    """The job of one evaluation; None where it was measured before, or has no such form: a gate will say so."""
    try:
        form = get_variant(version, variant)
        if Evaluation.objects.filter(version=version, set=on, variant=form).exists():
            return None
        job, _new = submit_evaluation(actor=turn.owner, version=version, on=on, variant=variant)
    except Invalid:
        return None
    return {"set": str(on), "version": version.number, "variant": form.name, "job": job.pk}


def weigh_evaluations(turn: Turn) -> timedelta | None:
    """Once every evaluation has ended: what approvers will see. One of the former version may have failed."""
    retraining = turn.retraining
    jobs = Job.objects.filter(pk__in=[each["job"] for each in retraining.evaluations])
    if jobs.exclude(state__in=ENDED).exists():
        return POLL
    rows = Retraining.objects.select_related(
        "monitor", "alarm", "former", "version", "data__dataset", "fresh_set__dataset_version"
    )
    facts = build_retraining_facts(rows.get(pk=retraining.pk))
    if retraining.fresh_set_id is None:
        check_golden_sets(facts)
    elif not any(each["version"] for each in facts["sets"].values() if each["kind"] == FRESH):
        failed = jobs.exclude(state=JobState.SUCCEEDED).order_by("-pk").first()
        cause = describe_job(failed) if failed else Message("its evaluation is gone")
        raise StepFailed(Message("The new version was not evaluated on fresh rows: {cause}", cause=cause))
    with transaction.atomic():
        lock_step(turn)
        Retraining.objects.filter(pk=retraining.pk).update(facts=facts)
        move(turn, S.REQUESTING, digests={"facts": compute_digest(facts)})
    return None


def check_golden_sets(facts: Mapping[str, Any]) -> None:
    """Where no rows were held back, a golden set must say how good the new version is."""
    if not any(each["version"] for each in facts["sets"].values()):
        raise StepFailed(Message("The new version was evaluated on no set: give the model a gate on one."))


# -- approval -------------------------------------------------------------------------------------------------------
def ask_approvers(turn: Turn) -> timedelta | None:
    """A request to promote the new version. One that is there already is the one that a killed dispatcher made."""
    retraining = turn.retraining
    rows = ModelVersion.objects.select_related("model__project", "run")
    version = rows.get(pk=require_key(retraining.version_id))
    same = {"project": retraining.project_id, "subject_type": SUBJECT, "subject_id": str(version.pk)}
    approval = Approval.objects.filter(**same).order_by("-pk").first()
    if approval is None:
        comment = Message("Trained again after the alarm {alarm}.", alarm=retraining.alarm_id)
        try:
            approval = request_promotion(actor=turn.owner, version=version, comment=comment)
        except Conflict as failure:
            if failure.code == "approval_pending":  # somebody has asked at this instant
                return POLL
            raise
    move(turn, S.AWAITING_APPROVAL, approval_id=approval.pk)
    return None


def follow_approval(actor: Actor, retraining: Retraining) -> timedelta | None:
    approval = Approval.objects.get(pk=require_key(retraining.approval_id))
    if approval.state == ApprovalState.PENDING:
        return POLL
    if approval.state == ApprovalState.APPROVED:
        end_retraining(actor, retraining, S.APPROVED)
    else:
        reason = Message("The approval {number} is {state}.", number=approval.pk, state=approval.state)
        end_retraining(actor, retraining, S.REJECTED, reason)
    return None


# -- ends -----------------------------------------------------------------------------------------------------------
def end_retraining(actor: Actor, retraining: Retraining, to: str, reason: Message | None = None) -> None:
    """The last move, with its notice where it has failed. One that somebody else has moved stays as it is."""
    fields: dict[str, Any] = {"next_at": None, "ended_at": get_database_now()}
    if reason is not None:
        fields["state_reason"] = reason.as_fields()
    try:
        with transaction.atomic():
            change_state(retraining, to, actor=actor, reason=reason or "", **fields)
            if to == S.FAILED:
                notify_of_failed_retraining(retraining)
    except StaleState:
        log.info("%s: moved meanwhile", retraining)


def note_fault(actor: Actor, retraining: Retraining, now: datetime, failure: Exception) -> None:
    """A fault of the plane itself: again later, and MAX_FAULTS times at most."""
    log.warning("%s: %s", retraining, failure)
    faults = retraining.faults + 1
    if faults >= MAX_FAULTS:
        cause = failure.message if isinstance(failure, PlaneError) else type(failure).__name__
        message = Message("It failed {count} times in a row: {cause}", count=faults, cause=cause)
        end_retraining(actor, retraining, S.FAILED, message)
        return
    pause = FAULT_PAUSE * 2 ** (faults - 1)
    Retraining.objects.filter(pk=retraining.pk, state=retraining.state).update(faults=faults, next_at=now + pause)
