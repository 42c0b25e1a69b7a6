"""Versions of files that a job made and that no register job has read: the weights of a federated study."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.db import transaction
from django.utils import timezone

from apps.core import policy
from apps.core.actors import Actor
from apps.core.canonical import encode_canonical_json, sha256_hex
from apps.ml.registry.documents import build_client_document
from apps.ml.registry.models import Model, ModelVersion, ModelVersionFile, ModelVersionTag
from apps.ml.registry.provenance import build_artifact_end, build_job_end, build_version_end
from apps.ml.registry.services.models import ensure_model, lock_model
from apps.ml.registry.services.validation import check_tag
from apps.platform.accounts.models import Project
from apps.platform.artifacts.models import Artifact
from apps.platform.audit import services as audit
from apps.platform.jobs.models import Job
from apps.platform.lineage.ends import EdgeSpec, End
from apps.platform.lineage.services import record_edges


@dataclass(frozen=True, slots=True)
class JobFile:
    """An output of a job, under the path that it has in the version."""

    path: str
    artifact: Artifact
    media_type: str


def record_files_version(
    *,
    actor: Actor,
    project: Project,
    name: str,
    source: str,
    job: Job,
    files: Sequence[JobFile],
    facts: Mapping[str, Any],
    tags: Mapping[str, str],
    sources: Sequence[tuple[End, str]] = (),
) -> ModelVersion:
    """The next version of the model called `name`, of these outputs of the job.

    `facts`: further members of its document; `sources`: (end, role) of what went into the job and is no input of it.
    """
    policy.require(actor, "model.record_version", project)
    for key, value in tags.items():
        check_tag(key, value)
    with transaction.atomic():
        model = lock_model(ensure_model(actor=actor, project=project, name=name))
        number = model.versions_count + 1
        Model.objects.filter(pk=model.pk).update(versions_count=number, touched_at=timezone.now())
        text = build_files_document(model, number, source, files, facts)
        version = ModelVersion.objects.create(
            model=model,
            number=number,
            digest=sha256_hex(text),
            document=text,
            source=source,
            job_id=job.pk,
            created_by=actor.label,
        )
        ModelVersionFile.objects.bulk_create(
            ModelVersionFile(
                version=version, path=row.path, artifact=row.artifact, size=row.artifact.size, media_type=row.media_type
            )
            for row in files
        )
        ModelVersionTag.objects.bulk_create(
            ModelVersionTag(version=version, key=key, value=value) for key, value in tags.items()
        )
        audit.record(
            actor=actor,
            action="model.record_version",
            obj=version,
            after={"model": name, "number": number, "source": source, "files": len(files), "job": job.pk},
            digests={"version": version.digest},
        )
        record_edges(actor=actor, project=project, edges=build_files_edges(version, job, files, sources))
    return version


def build_files_document(
    model: Model, number: int, source: str, files: Sequence[JobFile], facts: Mapping[str, Any]
) -> str:
    """The text of the document: which files, by digest, and the facts beside them."""
    rows = [(row.path, row.artifact.pk, row.artifact.size) for row in files]
    document = json.loads(
        build_client_document(model=model.name, number=number, source=source, run=None, logged_model=None, files=rows)
    )
    return encode_canonical_json({**document, **facts}) + "\n"


def build_files_edges(
    version: ModelVersion, job: Job, files: Sequence[JobFile], sources: Sequence[tuple[End, str]]
) -> list[EdgeSpec]:
    job_end, version_end = build_job_end(job), build_version_end(version)
    edges = [EdgeSpec.between(end, job_end, role) for end, role in sources]
    edges += [
        EdgeSpec.between(build_artifact_end(row.artifact.pk, row.path), version_end, row.path[:40]) for row in files
    ]
    return [*edges, EdgeSpec.between(job_end, version_end, "version")]
