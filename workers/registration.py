"""What a job's outputs become, by kind; called in the transaction that ends the job, so it reads no bytes."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from typing import Any

from apps.actors import Actor
from apps.artifacts.models import Artifact
from apps.datasets.services import register_version
from apps.jobs.models import Job
from apps.lineage.ends import EdgeSpec, End
from apps.lineage.services import record_edges

Outputs = Sequence[tuple[str, Artifact, str, str, Mapping[str, Any]]]


def artifacts_only(actor: Actor, job: Job, outputs: Outputs) -> None:
    """The outputs stay artifacts of the job; the lineage says what went in and what came out."""
    this = End("job", str(job.pk), label=str(job))
    edges = [
        EdgeSpec.between(End("artifact", wanted.artifact_id, digest=wanted.artifact_id), this, wanted.slot)
        for wanted in job.inputs.all()
        if wanted.artifact_id
    ]
    edges += [
        EdgeSpec.between(this, End("artifact", artifact.pk, digest=artifact.pk, label=name), slot)
        for slot, artifact, name, _, _ in outputs
    ]
    record_edges(actor=actor, project=job.project, edges=edges)


def cleaned_table(actor: Actor, job: Job, outputs: Outputs) -> None:
    """The cleaned table becomes a version of the dataset that `register` names; without a name it stays an artifact."""
    name = job.register.get("dataset")
    if not name:
        artifacts_only(actor, job, outputs)
        return
    register_version(
        actor=actor,
        project=job.project,
        dataset_name=name,
        outputs=outputs,
        job=job,
        script=f"deepseek.clean {version('deepseek-offline')}",
        params=json.loads(job.spec),
    )
