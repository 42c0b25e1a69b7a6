"""Register what a run made: a register job for a trained form, a version at once for a model that a client logged."""

from __future__ import annotations

from dataclasses import dataclass

from django.db import transaction

from apps.core import policy
from apps.core.actors import Actor
from apps.core.errors import Conflict, Invalid
from apps.ml.experiments.models import LoggedModel, Run
from apps.ml.registry.from_run.candidates import REGISTER, TRAINED_SLOTS, Candidates, find_candidates
from apps.ml.registry.models import Model, ModelVersion
from apps.ml.registry.services.clients import record_version
from apps.ml.registry.services.models import ensure_model
from apps.ml.registry.services.validation import check_name, check_text
from apps.platform.jobs.models import Job
from apps.platform.jobs.services import submit_job
from apps.platform.jobs.submission import InputSpec, Submission
from deepseek.messages import N_

MAX_NOTE_LENGTH = 500


@dataclass(frozen=True, slots=True)
class RunRegistration:
    """Either the job that will make the version, or the version."""

    job: Job | None = None
    version: ModelVersion | None = None


def register_run(*, actor: Actor, run: Run, name: str, note: str = "", logged_model: str = "") -> RunRegistration:
    """Make a version of the model `name`, which is made if there is none, from what the run made.

    `logged_model`: which of the models that a client logged; the newest one where it is left out. Raises Invalid for a
    bad value, Conflict where the run has nothing to register.
    """
    policy.require(actor, "model.record_version", run)
    if not Model.objects.filter(project=run.project_id, name=name, deleted_at=None).exists():
        check_name("model", name)  # a client may have named one that is there as it liked
    check_text("note", note, MAX_NOTE_LENGTH)
    candidates = find_candidates(run)
    if candidates.job_id is not None and not logged_model:
        inputs = [
            InputSpec(slot=slot, job_id=candidates.job_id, job_slot=output) for slot, output in TRAINED_SLOTS.items()
        ]
        submission = Submission(
            kind=REGISTER, spec={"note": note}, inputs=inputs, register={"model": name}, name=f"register {name}"[:100]
        )
        job, _is_new = submit_job(actor=actor, project=run.project, submission=submission)
        return RunRegistration(job=job)
    chosen = choose_logged_model(run, candidates, logged_model)
    with transaction.atomic():  # a version that cannot be made leaves no empty model
        ensure_model(actor=actor, project=run.project, name=name)
        version = record_version(
            actor=actor,
            project=run.project,
            name=name,
            source=f"models:/{chosen.pk}",
            run_id=run.pk,
            model_id=chosen.pk,
            description=note,
        )
    return RunRegistration(version=version)


def choose_logged_model(run: Run, candidates: Candidates, wanted: str) -> LoggedModel:
    if not candidates:
        raise Conflict(
            "Run {run_id} has nothing to register.",
            run_id=run.pk,
            code="nothing_to_register",
            field="run",
            hint=N_("Wait until its training has succeeded, or log a model to it."),
        )
    by_id = {model.pk: model for model in candidates.logged_models}
    if wanted and wanted not in by_id:
        raise Invalid(
            "Run {run_id} logged no model {wanted!r}.",
            run_id=run.pk,
            wanted=wanted[:40],
            field="logged_model",
            limit=", ".join(by_id) or N_("none"),
            hint=N_("Leave it out for a run of a job.") if candidates.job_id is not None else N_("Take one of these."),
        )
    return by_id[wanted] if wanted else candidates.logged_models[0]
