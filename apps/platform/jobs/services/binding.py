"""Bind a job to the node that keeps its state: what a folder there has is on no other node."""

from __future__ import annotations

from django.db import transaction

from apps.core.actors import Actor
from apps.core.errors import StaleState
from apps.core.policy import require
from apps.platform.audit.services import record
from apps.platform.jobs.models import Job
from apps.platform.jobs.services.moves import filter_current_attempt
from apps.platform.nodes.models import Node


def bind_job(*, actor: Actor, job: Job, node: Node | None) -> None:
    """Let further attempts of a running job begin on `node` alone; None: on any node that fits, as before.

    Raises StaleState when the job is not this attempt's any more.
    """
    require(actor, "job.report")
    if job.bound_to_id == (node.pk if node else None):
        return
    with transaction.atomic():
        if not filter_current_attempt(job).update(bound_to=node):
            raise StaleState(
                "Job {job_pk} is not held by attempt {attempt} any more.",
                job_pk=job.pk,
                attempt=job.attempt,
                field="attempt",
            )
        before = {"bound_to": job.bound_to.name if job.bound_to else ""}
        after = {"bound_to": node.name if node else ""}
        record(actor=actor, action="job.bind", obj=job, before=before, after=after)
    job.bound_to = node
