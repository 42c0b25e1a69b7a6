"""Measure a version that the plane cannot run by what it said: predictions that its owner made on the table of a set.

A version that a client registered has files and no form of the plane's own, and nothing of it is ever unpickled. So who
gives the predictions answers for them: every evaluation of this kind says who that was, and which bytes they were.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

from django.db import transaction

from apps.core import policy
from apps.core.actors import Actor
from apps.core.errors import Conflict, Invalid
from apps.data.datasets.quality.verdicts import is_number
from apps.data.datasets.versions.table_parts import build_table_inputs
from apps.ml.registry.evaluations.sets import check_fits, find_set, format_set_reference, get_predictable_version
from apps.ml.registry.models import AliasMove, Evaluation, EvaluationSet, Gate, ModelVersion
from apps.ml.registry.services.evaluations import check_document, check_number, insert_evaluation
from apps.ml.registry.services.versions import JobOutputRow
from apps.ml.registry.states import PRODUCTION
from apps.platform.accounts.actors import build_actor_from_grant
from apps.platform.accounts.confirmations import is_unconfirmed
from apps.platform.accounts.models import Project
from apps.platform.artifacts.models import Artifact
from apps.platform.jobs.models import Job, JobInput
from apps.platform.jobs.services import submit_job
from apps.platform.jobs.states import ENDED
from apps.platform.jobs.submission import InputSpec, Submission
from deepseek.evaluate.spec import FARTHEST, PredictionsSpec
from deepseek.messages import N_

KIND = "evaluate_predictions"


def submit_predictions(
    *, actor: Actor, version: ModelVersion, on: EvaluationSet, predictions: str, horizon: int | None = None
) -> tuple[Job, bool]:
    """Queue the job that measures these predictions (the digest of an artifact that the project holds) on the set; the
    one that does already, if there is one. Returns it and whether it is new.

    `horizon`: rows that a forecast looks ahead. Raises Invalid `predictions_not_taken`, `set_mismatch`,
    `artifact_not_found`, `artifact_damaged`, `horizon_unknown`, `horizon_not_taken`; Conflict `baseline_measured`.
    """
    policy.require(actor, "job.submit", version.model)
    check_takes(version, on, horizon)
    check_bar(version, on, actor)
    check_artifact(actor, version.model.project, predictions)
    register = {"evaluation": format_set_reference(on), "version": str(version.pk)}
    of_these = JobInput.objects.filter(artifact=predictions, slot="predictions", job__project_id=version.project_id)
    mine = of_these.filter(job__kind=KIND, job__register=register, job__requester=actor.label)  # whose word it is
    unended = mine.exclude(job__state__in=ENDED).select_related("job").order_by("pk")
    running = next((row.job for row in unended if json.loads(row.job.spec).get("horizon") == horizon), None)
    if running is not None:
        return running, False
    submission = Submission(
        kind=KIND,
        spec={**on.spec, "task": infer_task(version, on), "target": on.target, "horizon": horizon},
        inputs=[
            InputSpec(slot="predictions", digest=predictions),
            *build_table_inputs(on.dataset_version, str(on.table_id), "table"),
        ],
        register=register,
        name=f"{version} predictions on {format_set_reference(on)}"[:120],
    )
    return submit_job(actor=actor, project=version.model.project, submission=submission)


def check_takes(version: ModelVersion, on: EvaluationSet, horizon: int | None) -> None:
    """Raise Invalid where the version, the set and the horizon do not go together."""
    if not version.by_client:
        raise Invalid(
            "{version} takes no predictions: the plane runs it itself.",
            version=version,
            code="predictions_not_taken",
            field="predictions",
            limit="versions that a client registered",
            hint=N_("Leave predictions out, and name a variant or none."),
        )
    check_fits(version, on)
    if on.task == "forecast" and horizon is not None:
        check_number("horizon", horizon, 1, FARTHEST)
        return
    if on.task != "forecast" and horizon is None:
        return
    if horizon is None:
        raise Invalid(
            "{reference} is of forecasts, and predictions do not say how far they look ahead.",
            reference=format_set_reference(on),
            code="horizon_unknown",
            field="horizon",
            limit="a whole number of rows",
            hint=N_("Give the number of rows between what is known and what is foretold."),
        )
    raise Invalid(
        "{reference} is of a {task}, which looks ahead of nothing.",
        reference=format_set_reference(on),
        task=on.task,
        code="horizon_not_taken",
        field="horizon",
        limit="none",
        hint=N_("Leave the horizon out."),
    )


def check_bar(version: ModelVersion, on: EvaluationSet, who: Actor | None, job: Job | None = None) -> None:
    """Raise Conflict where others are compared with this version on the set already: who asks for a promotion must not
    be who lowers the bar, and predictions are what somebody says.

    `who`: None for somebody who may do nothing any more; `job`: what it has registered itself is not before it.
    """
    measured = Evaluation.objects.filter(version=version, set=on).exclude(job_id=job.pk if job else 0)
    if not (measured.exists() and is_compared_with(version)):
        return
    if who is None or not policy.is_allowed(who, "gate.set", version.model) or is_unconfirmed(who.user_id):
        raise Conflict(
            "{version} has figures on {reference}, and others are compared with them.",
            version=version,
            reference=format_set_reference(on),
            code="baseline_measured",
            field="predictions",
            limit="the first predictions on a set, of a version that is or was in production, or a gate's baseline",
            hint=N_("An approver may replace them or name another baseline; a revision of the set begins anew."),
        )


def is_compared_with(version: ModelVersion) -> bool:
    """Whether it is the baseline of a gate, or is or was in production, to which a rollback may lead again."""
    moved = AliasMove.objects.filter(model=version.model_id, alias=PRODUCTION, to_version=version)
    return moved.exists() or Gate.objects.filter(baseline=version, removed_at=None).exists()


def check_artifact(actor: Actor, project: Project, digest: str) -> None:
    """Raise Invalid for what is no artifact of the project, or a damaged one."""
    artifact = Artifact.objects.visible_to(actor).filter(holdings__project=project, digest=digest).first()
    if artifact is None:
        raise Invalid(
            "This project holds no artifact {digest!r}.",
            digest=digest[:80],
            code="artifact_not_found",
            field="predictions",
            limit="the SHA-256 of an artifact of this project",
            hint=N_("Upload it first: PUT /api/v1/projects/<project>/artifacts/<digest>."),
        )
    if artifact.damaged_at is not None:
        raise Invalid(
            "The artifact {digest} is damaged.",
            digest=digest[:12],
            code="artifact_damaged",
            field="predictions",
            hint=N_("Upload it again."),
        )


def infer_task(version: ModelVersion, on: EvaluationSet) -> str:
    """What was predicted. A ranking may be of classes or of numbers: as other versions of the model have it, for only
    then do the two pair; else classes, where the set names the relevant one or the target is no number."""
    if on.task != "ranking":
        return on.task
    of_rows = version.model.versions.filter(task__in=("regression", "classification"), deleted_at=None)
    predicted_versions = of_rows.filter(target=on.target).order_by("-number")
    if (task := predicted_versions.values_list("task", flat=True).first()) is not None:
        return task
    target = next((column for column in on.dataset_version.columns if column.get("name") == on.target), None)
    numeric = target is None or is_number(target)
    return "regression" if numeric and not on.spec.get("positive") else "classification"


def register_predictions(
    *,
    actor: Actor,
    project: Project,
    set_name: str,
    version_key: str,
    outputs: Sequence[JobOutputRow],
    job: Job,
) -> Evaluation:
    """What a job measured of predictions, for the version that they are of.

    Call it inside the transaction that ends the job; it reads no bytes. Raises Invalid where the document is not what
    the job wrote, or not of the set, or where the version takes no predictions; Conflict `baseline_measured`.
    """
    policy.require(actor, "evaluation.register", project)
    outputs_by_slot = {row[0]: row for row in outputs}
    artifact, document = outputs_by_slot["evaluation"][1], outputs_by_slot["evaluation"][4]
    on, version = find_set(project, set_name), get_predictable_version(project, version_key)
    check_fits(version, on)
    check_document(job, document, artifact.pk, on, ("predictions",), PredictionsSpec)
    check_bar(version, on, build_actor_from_grant(job.grant), job)  # it may have been promoted meanwhile
    with transaction.atomic():
        return insert_evaluation(actor, on, version, job, artifact, outputs_by_slot["replicates"][1], document)
