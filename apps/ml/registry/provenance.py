"""Where a version comes from: the jobs that made its forms, the run, the data, and the edges of lineage. Reads only."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from django.db.models import BigIntegerField, Max
from django.db.models.functions import Cast

from apps.data.datasets.models import DatasetVersion
from apps.ml.experiments.models import Run
from apps.ml.registry.models import ModelVersion, Variant
from apps.platform.artifacts.models import Artifact
from apps.platform.jobs.models import Job, JobInput, JobOutput
from apps.platform.lineage.ends import EdgeSpec, End
from apps.platform.lineage.models import Edge
from deepseek.register.spec import QUANTIZED_FORMS

MODEL_SLOT, HELDOUT_SLOT = "model", "heldout"
FORM_OUTPUTS = ((MODEL_SLOT, ""), ("manifest", "_manifest"), ("figures", "_figures"))
"""Outputs of a job that makes a form, and how the slot of each ends where a register job takes it."""


def find_maker_jobs(job: Job, slots: Iterable[str]) -> dict[str, int]:
    """{slot: job that made the form in it}: the one it came from, else the newest that made the same.

    A job made a form if the file, its manifest and its figures are all outputs of that one job. Else somebody may have
    put figures of their own beside a model that was trained here: then nothing is known of how they were measured.
    """
    inputs = {row.slot: row for row in JobInput.objects.filter(job=job, artifact__isnull=False)}
    rows = JobOutput.objects.filter(
        artifact__in=[row.artifact_id for row in inputs.values()],
        slot__in=[slot for slot, _ in FORM_OUTPUTS],
        job__project_id=job.project_id,
    )
    outputs_by_job = dict[int, set[tuple[str, str | None]]]()
    for maker, slot, digest in rows.order_by("job_id").values_list("job_id", "slot", "artifact_id"):
        outputs_by_job.setdefault(maker, set()).add((slot, digest))
    maker_by_slot = {}
    for slot in slots:
        parts = [(name, inputs.get(slot + ending)) for name, ending in FORM_OUTPUTS]
        form = {(name, row.artifact_id) for name, row in parts if row is not None}
        source_job = inputs[slot].source_job_id
        makers = [
            maker for maker, outputs in outputs_by_job.items() if form <= outputs and (source_job or maker) == maker
        ]
        if len(form) == len(FORM_OUTPUTS) and makers:
            maker_by_slot[slot] = makers[-1]
    return maker_by_slot


def get_maker_run(maker: int | None) -> Run | None:
    return Run.objects.filter(job_id=maker).first() if maker else None


def get_heldout_digest(maker: int | None) -> str:
    """Digest of the rows that a training job held out; "" where it is not known."""
    if maker is None:
        return ""
    digest = JobOutput.objects.filter(job_id=maker, slot=HELDOUT_SLOT).values_list("artifact_id", flat=True).first()
    return digest or ""


def list_training_data(variant: Variant | None, project_id: int) -> list[DatasetVersion]:
    """The dataset versions that went into the job that made this variant, as its lineage recorded them.

    As recorded, not as found again: other versions of equal bytes may have come since.
    """
    if variant is None or variant.job_id is None:
        return []
    edges = Edge.objects.filter(
        project_id=project_id, target_type="job", target_id=str(variant.job_id), source_type="dataset_version"
    )
    keys = edges.order_by().values_list(Cast("source_id", BigIntegerField()), flat=True)
    versions = DatasetVersion.objects.filter(pk__in=keys, dataset__project_id=project_id)
    return list(versions.select_related("dataset").defer("manifest").order_by("pk"))


def find_training_label(project_id: int, digest: str, variant: Variant | None) -> int:
    """The highest security label of the data that a model learned from: of the jobs whose output has its bytes, and of
    those that made any form of its version, as a form that was quantized saw less data than the first one."""
    makers = set(JobOutput.objects.filter(artifact=digest, job__project=project_id).values_list("job_id", flat=True))
    if variant is not None:
        forms = Variant.objects.filter(version=variant.version_id, job_id__isnull=False)
        makers |= {int(job_id) for job_id in forms.values_list("job_id", flat=True) if job_id is not None}
    edges = Edge.objects.filter(project_id=project_id, target_type="job", source_type="dataset_version")
    keys = edges.filter(target_id__in=sorted(map(str, makers))).order_by()
    versions = DatasetVersion.objects.filter(
        pk__in=keys.values_list(Cast("source_id", BigIntegerField()), flat=True), dataset__project_id=project_id
    )
    return int(versions.aggregate(label=Max("dataset__security_label"))["label"] or 0)


# -- lineage --------------------------------------------------------------------------------------------------------
def build_job_end(job: Job) -> End:
    return End("job", str(job.pk), label=str(job))


def build_artifact_end(digest: str, label: str) -> End:
    return End("artifact", digest, digest, label)


def build_variant_end(variant: Variant) -> End:
    return End("variant", str(variant.pk), variant.artifact_id, str(variant))


def build_version_end(version: ModelVersion) -> End:
    return End("model_version", str(version.pk), version.digest, str(version))


def build_version_edges(job: Job, version: ModelVersion, variants: Sequence[Variant]) -> list[EdgeSpec]:
    """What the register job took, what it made, and from the bytes of each form by its variant to the version."""
    job_node, version_node = build_job_end(job), build_version_end(version)
    edges = [EdgeSpec.between(job_node, version_node, "version")]
    for variant in variants:
        file = build_artifact_end(variant.artifact_id, variant.file)
        edges += [
            EdgeSpec.between(file, job_node, variant.name),
            EdgeSpec.between(file, build_variant_end(variant), variant.name),
            EdgeSpec.between(build_variant_end(variant), version_node, variant.name),
        ]
    return edges


def build_model_edges(
    job: Job, inputs: Mapping[str, End], outputs: Iterable[tuple[str, Artifact, str, str, Mapping[str, Any]]]
) -> list[EdgeSpec]:
    """Of a job that makes a model: what went in by each slot, and the files that came out."""
    job_node = build_job_end(job)
    edges = [EdgeSpec.between(end, job_node, slot) for slot, end in inputs.items()]
    return edges + [
        EdgeSpec.between(job_node, build_artifact_end(artifact.pk, name), slot)
        for slot, artifact, name, _, _ in outputs
        if slot in (MODEL_SLOT, *QUANTIZED_FORMS)
    ]
