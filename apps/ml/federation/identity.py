"""The keys and certificates that the worker hands to a job of a study, and to no other job."""

from __future__ import annotations

from dataclasses import dataclass

from apps.core.actors import Actor
from apps.core.errors import Conflict
from apps.core.policy import require
from apps.ml.federation.key_cipher import decrypt_key
from apps.ml.federation.queries import find_site_study_of_job, find_study_of_job
from apps.ml.federation.states import SiteStudyState, StudyState
from apps.platform.jobs.models import Job
from deepseek.messages import N_


@dataclass(frozen=True, slots=True, repr=False)
class JobIdentity:
    """PEM texts; the keys are private, so none of it is printed. `ledger_key`: Ed25519, of a site alone."""

    authority: str
    certificate: str
    key: str
    ledger_key: str = ""


def load_job_identity(*, actor: Actor, job: Job) -> JobIdentity:
    """What the job proves itself with. Raises Conflict `not_in_study` for a job of no study that runs, so one that was
    left or stopped, or whose job somebody submitted or retried by other ways, connects to nobody."""
    require(actor, "federation.record", job)
    study = find_study_of_job(actor, job.pk)
    if study is not None and study.state == StudyState.RUNNING:
        return JobIdentity(study.authority_certificate, study.server_certificate, decrypt_key(study.server_key))
    row = find_site_study_of_job(actor, job.pk)
    if row is not None and row.state == SiteStudyState.RUNNING:
        return JobIdentity(
            row.authority_certificate, row.certificate, decrypt_key(row.key), decrypt_key(row.ledger_key)
        )
    raise Conflict(
        "Job {job_pk} is of no study that runs.",
        job_pk=job.pk,
        code="not_in_study",
        field="job",
        hint=N_("Start the study, or join it, on its page."),
    )
