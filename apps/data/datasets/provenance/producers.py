"""Provenance of a version or of a job: script and code digest, parameters, report, inputs, outputs, node, environment.

Four queries at most; two if the caller has read the job.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from apps.core import policy
from apps.core.actors import Actor
from apps.data.datasets.models import DatasetVersion
from apps.data.datasets.provenance.job_inputs import ProducingJob, find_producing_job, get_input_digests
from apps.platform.jobs.models import Job, JobOutput
from apps.platform.lineage.models import Edge


@dataclass(frozen=True, slots=True)
class JobInputRef:
    """An input of the job: its slot and digest, and the lineage end that it was recorded as."""

    slot: str
    digest: str
    type: str = "artifact"
    id: str = ""
    label: str = ""


@dataclass(frozen=True, slots=True)
class Provenance:
    """`job` is None for an upload; then there is no code digest, node or environment."""

    script: str
    params: Mapping[str, Any]
    code_digest: str = ""
    quality: str = ""  # digest of the report
    inputs: list[JobInputRef] = field(default_factory=list)
    outputs: list[JobOutput] = field(default_factory=list)
    job: Job | None = None
    node: str = ""
    environment: Mapping[str, Any] = field(default_factory=dict)
    by: str = ""


def get_version_provenance(actor: Actor, version: DatasetVersion, producer: ProducingJob | None = None) -> Provenance:
    """What made this version: of the job that made it first, where several made the same bytes.

    `taker`: that job, where it is read already.
    """
    policy.require(actor, "dataset.view", version)
    quality = version.quality_id or ""
    if producer is None and version.job_id:
        producer = find_producing_job(version.project_id, version.job_id)
    if producer is None:
        return Provenance(version.script, version.params or {}, quality=quality, by=version.created_by)
    return build_provenance(producer, version.script, version.params or {}, quality)


def get_job_provenance(actor: Actor, job: Job) -> Provenance:
    """The same of what any job made; its spec is the parameters."""
    policy.require(actor, "job.view", job)
    script, spec = f"deepseek.{job.kind}", json.loads(job.spec)
    if not job.ended:  # then it has made nothing, and nobody has told of it
        inputs = list_input_refs(ProducingJob(job, get_input_digests(job)))
        return Provenance(script, spec, inputs=inputs, job=job, by=job.requester)
    return build_provenance(find_producing_job(job.project_id, job.pk) or ProducingJob(job, {}), script, spec, "")


def build_provenance(producer: ProducingJob, script: str, params: Mapping[str, Any], quality: str) -> Provenance:
    job = producer.job
    record = getattr(job, "provenance", None)
    outputs = list(JobOutput.objects.filter(job=job).select_related("artifact").order_by("slot"))
    return Provenance(
        script=script,
        params=params,
        code_digest=record.code_digest if record else "",
        quality=quality or next((output.artifact_id for output in outputs if output.slot == "quality_after"), ""),
        inputs=list_input_refs(producer),
        outputs=outputs,
        job=job,
        node=record.node if record else (job.node.name if job.node else ""),
        environment=record.environment if record else {},
        by=job.requester,
    )


def list_input_refs(producer: ProducingJob) -> list[JobInputRef]:
    """The inputs by slot, with their recorded lineage ends where there are any."""
    job = producer.job
    edges = Edge.objects.filter(project_id=job.project_id, target_type="job", target_id=str(job.pk)).order_by("id")
    edges_by_slot = {edge.role: edge for edge in edges}
    refs = []
    for slot, digest in sorted(producer.slots.items()):
        edge = edges_by_slot.get(slot)
        if edge is None:
            refs.append(JobInputRef(slot, digest, id=digest, label=digest[:12]))
        else:
            refs.append(JobInputRef(slot, digest, edge.source_type, edge.source_id, edge.source_label or digest[:12]))
    return refs
