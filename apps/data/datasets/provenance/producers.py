"""What made a version, whole: the script and the digest of its code, parameters, report, inputs, outputs, job, node and
environment; and the same of a job alone. Four queries at most, two of them where the page has read the job.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from apps.core import policy
from apps.core.actors import Actor
from apps.data.datasets.models import DatasetVersion
from apps.data.datasets.provenance.job_inputs import Taker, inputs_of, taker_of
from apps.platform.jobs.models import Job, JobOutput
from apps.platform.lineage.models import Edge


@dataclass(frozen=True, slots=True)
class Taken:
    """An input of the job: its slot and bytes, and what they were known as when the lineage was recorded."""

    slot: str
    digest: str
    type: str = "artifact"
    id: str = ""
    label: str = ""


@dataclass(frozen=True, slots=True)
class MadeBy:
    """`job` is None for what was uploaded; then there is no code, node or environment to tell."""

    script: str
    params: Mapping[str, Any]
    code_digest: str = ""
    quality: str = ""  # digest of the report
    inputs: list[Taken] = field(default_factory=list)
    outputs: list[JobOutput] = field(default_factory=list)
    job: Job | None = None
    node: str = ""
    environment: Mapping[str, Any] = field(default_factory=dict)
    by: str = ""


def made_by(actor: Actor, version: DatasetVersion, taker: Taker | None = None) -> MadeBy:
    """What made this version: of the job that made it first, where several made the same bytes.

    `taker`: that job, where it is read already.
    """
    policy.require(actor, "dataset.view", version)
    quality = version.quality_id or ""
    if taker is None and version.job_id:
        taker = taker_of(version.project_id, version.job_id)
    if taker is None:
        return MadeBy(version.script, version.params or {}, quality=quality, by=version.created_by)
    return of_job(taker, version.script, version.params or {}, quality)


def made_by_job(actor: Actor, job: Job) -> MadeBy:
    """The same of what any job made; its spec is the parameters."""
    policy.require(actor, "job.view", job)
    script, spec = f"deepseek.{job.kind}", json.loads(job.spec)
    if not job.ended:  # then it has made nothing, and nobody has told of it
        inputs = taken_in(Taker(job, inputs_of(job)))
        return MadeBy(script, spec, inputs=inputs, job=job, by=job.requester)
    return of_job(taker_of(job.project_id, job.pk) or Taker(job, {}), script, spec, "")


def of_job(taker: Taker, script: str, params: Mapping[str, Any], quality: str) -> MadeBy:
    job = taker.job
    told = getattr(job, "provenance", None)
    outputs = list(JobOutput.objects.filter(job=job).select_related("artifact").order_by("slot"))
    return MadeBy(
        script=script,
        params=params,
        code_digest=told.code_digest if told else "",
        quality=quality or next((one.artifact_id for one in outputs if one.slot == "quality_after"), ""),
        inputs=taken_in(taker),
        outputs=outputs,
        job=job,
        node=told.node if told else (job.node.name if job.node else ""),
        environment=told.environment if told else {},
        by=job.requester,
    )


def taken_in(taker: Taker) -> list[Taken]:
    """What went in by each slot, as the lineage recorded it where it did."""
    job = taker.job
    edges = Edge.objects.filter(project_id=job.project_id, target_type="job", target_id=str(job.pk)).order_by("id")
    known = {edge.role: edge for edge in edges}
    found = []
    for slot, digest in sorted(taker.slots.items()):
        edge = known.get(slot)
        if edge is None:
            found.append(Taken(slot, digest, id=digest, label=digest[:12]))
        else:
            found.append(Taken(slot, digest, edge.source_type, edge.source_id, edge.source_label or digest[:12]))
    return found
