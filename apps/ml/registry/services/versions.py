"""Versions that register jobs make. A version is never changed; what is said about it is: clients.py."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from django.db import transaction
from django.utils import timezone

from apps.core import policy
from apps.core.actors import Actor
from apps.core.errors import Invalid
from apps.ml.registry import provenance
from apps.ml.registry.documents import Document, get_metrics, serialize_checked_document
from apps.ml.registry.models import Model, ModelVersion, Variant
from apps.ml.registry.services.models import ensure_model, lock_model
from apps.platform.accounts.models import Project
from apps.platform.artifacts.models import Artifact
from apps.platform.audit import services as audit
from apps.platform.jobs.models import Job, JobInput
from apps.platform.lineage.services import record_edges
from deepseek.messages import N_

JobOutputRow = tuple[str, Artifact, str, str, Mapping[str, Any]]
"""(slot, artifact, name, media type, meta): what jobs.services.succeed_job takes"""

VERSION_SLOT = "version"


def register_version(
    *, actor: Actor, project: Project, model_name: str, outputs: Sequence[JobOutputRow], job: Job
) -> tuple[ModelVersion, bool]:
    """Make the document that a register job wrote a version of the model, which is made too if it is absent.

    Returns it and whether it is new: the digest of the document is its name, so registered twice is registered once.
    Call it inside the transaction that ends the job; it reads no bytes. Raises Invalid if the job has no such output,
    or one that names bytes which did not go into the job.
    """
    policy.require(actor, "model.register_version", project)
    outputs_by_slot = {row[0]: row for row in outputs}
    if VERSION_SLOT not in outputs_by_slot:
        raise Invalid(
            "Job {job_pk} made no output {version_slot!r}.",
            job_pk=job.pk,
            version_slot=VERSION_SLOT,
            code="output_missing",
            field="slot",
            limit=", ".join(outputs_by_slot) or "none",
        )
    _, artifact, _, _, document = outputs_by_slot[VERSION_SLOT]
    text = serialize_checked_document(document, artifact.pk)
    check_inputs(job, document)
    with transaction.atomic():
        model = ensure_model(actor=actor, project=project, name=model_name)
        locked_model = lock_model(model)
        version = ModelVersion.objects.select_related("model").filter(model=locked_model, digest=artifact.pk).first()
        created = version is None
        if version is None:
            version = insert_version(actor, locked_model, artifact.pk, text, document, job)
        elif version.deleted_at is not None:
            restore_version(actor, version)
        variants = list(version.variants.order_by("pk"))
        record_edges(actor=actor, project=project, edges=provenance.build_version_edges(job, version, variants))
    return version, created


def restore_version(actor: Actor, version: ModelVersion) -> None:
    """A version that was deleted is made again: it is the same one, under its old number."""
    ModelVersion.objects.filter(pk=version.pk).update(deleted_at=None, updated_at=timezone.now())
    version.deleted_at = None
    audit.record(actor=actor, action="model.restore_version", obj=version, after={"number": version.number})


def check_inputs(job: Job, document: Document) -> None:
    """Raise Invalid for a document that names bytes which the job was not given."""
    digests = set(JobInput.objects.filter(job=job).values_list("artifact_id", flat=True))
    for variant in document["variants"]:
        for digest in (variant["model"], variant["manifest"]):
            if digest not in digests:
                raise Invalid(
                    "The document names {digest}, which is no input of job {job_pk}.",
                    digest=digest,
                    job_pk=job.pk,
                    code="version_document",
                    field=f"outputs/version/variants/{variant['name']}",
                    limit="the job's inputs",
                    hint=N_("Run the register job again."),
                )


def insert_version(actor: Actor, model: Model, digest: str, text: str, document: Document, job: Job) -> ModelVersion:
    """The next version of a locked model, its variants and its record."""
    rows = document["variants"]
    makers = provenance.find_maker_jobs(job, [row["slot"] for row in rows])
    trainer = makers.get(rows[0]["slot"])
    number = model.versions_count + 1
    Model.objects.filter(pk=model.pk).update(versions_count=number, touched_at=timezone.now())
    version = ModelVersion.objects.create(
        model=model,
        number=number,
        digest=digest,
        document=text,
        task=document["task"],
        target=document["target"],
        metrics=get_metrics(rows[0]["figures"]),
        note=document["note"],
        run=provenance.get_maker_run(trainer),
        job_id=job.pk,
        created_by=job.requester or actor.label,
    )
    trained: Variant | None = None  # the first; the others were made from it
    for row in rows:
        maker = makers.get(row["slot"])
        heldout = row["heldout"] or (provenance.get_heldout_digest(trainer) if trained is None else "")
        # Who brings a manifest may write into it which rows its figures are of; a job has read them.
        variant = insert_variant(version, row, trained, heldout if maker else "", maker)
        trained = trained or variant
    audit.record(
        actor=actor,
        action="model.register_version",
        obj=version,
        after={"model": model.name, "number": number, "variants": [row["name"] for row in rows], "job": job.pk},
        digests={"version": digest, **{row["name"]: row["model"] for row in rows}},
    )
    return version


def insert_variant(
    version: ModelVersion, row: Mapping[str, Any], parent: Variant | None, heldout: str, maker: int | None
) -> Variant:
    return Variant.objects.create(
        version=version,
        name=row["name"],
        format=row["format"],
        file=row["file"],
        artifact_id=row["model"],
        manifest_id=row["manifest"],
        parent=parent,
        size=row["size"],
        heldout=heldout,
        machine=row["machine"],
        figures=row["figures"],
        job_id=maker,
    )
