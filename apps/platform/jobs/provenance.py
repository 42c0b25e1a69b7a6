"""What made the outputs of a job beside its spec and its inputs: the engine's code, the machine, whose wish."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from apps.core.actors import Actor
from apps.core.policy import require
from apps.platform.jobs.models import Job, JobProvenance


def record_provenance(*, actor: Actor, job: Job, code_digest: str, environment: Mapping[str, Any]) -> JobProvenance:
    """Keep it, in the transaction that ends the job.

    `environment`: python, platform, packages, threads, node, host, processor, cpus, memory_bytes, gpus. The audit
    record of the success names the job, whose row this belongs to.
    """
    require(actor, "job.finish")
    facts = {
        "attempt": job.attempt,
        "node": str(environment.get("node", ""))[:120],
        "code_digest": code_digest,
        "environment": dict(environment),
    }
    return JobProvenance.objects.update_or_create(job=job, defaults=facts)[0]


def resolve_requester(actor: Actor, job_id: int | None = None) -> str:
    """Whose wish it is that the actor makes something: who asked for the job, else the actor's own.

    Under this name people look for what is theirs; which worker wrote it down is in the audit trail.
    """
    number = job_id or actor.job_id
    requester = Job.objects.filter(pk=number).values_list("requester", flat=True).first() if number else ""
    return requester or actor.label
