"""What becomes of a study when its job has ended."""

from __future__ import annotations

from apps.core.actors import Actor
from apps.ml.federation.services.participation import complete_site_study
from apps.ml.federation.services.results import complete_study
from apps.platform.jobs.models import Job
from workers.registration import Outputs, record_artifacts


def register_study_result(actor: Actor, job: Job, outputs: Outputs) -> None:
    """The server's job: the study is complete, with sites, rounds and budgets."""
    record_artifacts(actor, job, outputs)
    document = next((meta for slot, _, _, _, meta in outputs if slot == "federation"), {})
    complete_study(actor=actor, job=job, result=document)


def register_participation(actor: Actor, job: Job, outputs: Outputs) -> None:
    """The site's job: it has taken part to the end, with its own figures."""
    record_artifacts(actor, job, outputs)
    figures = next((meta for slot, _, _, _, meta in outputs if slot == "evaluation"), {})
    complete_site_study(actor=actor, job=job, result=figures)
