"""Where a version comes from: the jobs that made its forms, the run, the data, and the edges of lineage. Reads only."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from django.db.models import BigIntegerField
from django.db.models.functions import Cast

from apps.data.datasets.models import DatasetVersion
from apps.ml.experiments.models import Run
from apps.ml.registry.models import ModelVersion, Variant
from apps.platform.artifacts.models import Artifact
from apps.platform.jobs.models import Job, JobInput, JobOutput
from apps.platform.lineage.ends import EdgeSpec, End
from apps.platform.lineage.models import Edge

MODEL_SLOT, HELDOUT_SLOT = "model", "heldout"
MADE_TOGETHER = ((MODEL_SLOT, ""), ("manifest", "_manifest"), ("figures", "_figures"))
"""Outputs of a job that makes a form, and how the slot of each ends where a register job takes it."""


def makers_of(job: Job, slots: Iterable[str]) -> dict[str, int]:
    """{slot: job that made the form in it}: the one it came from, else the newest that made the same.

    A job made a form if the file, its manifest and its figures are all outputs of that one job. Else somebody may have
    put figures of their own beside a model that was trained here: then nothing is known of how they were measured.
    """
    given = {row.slot: row for row in JobInput.objects.filter(job=job, artifact__isnull=False)}
    rows = JobOutput.objects.filter(
        artifact__in=[row.artifact_id for row in given.values()],
        slot__in=[slot for slot, _ in MADE_TOGETHER],
        job__project_id=job.project_id,
    )
    made = dict[int, set[tuple[str, str | None]]]()
    for maker, slot, digest in rows.order_by("job_id").values_list("job_id", "slot", "artifact_id"):
        made.setdefault(maker, set()).add((slot, digest))
    found = {}
    for slot in slots:
        parts = [(name, given.get(slot + ending)) for name, ending in MADE_TOGETHER]
        wanted = {(name, row.artifact_id) for name, row in parts if row is not None}
        named = given[slot].source_job_id
        makers = [maker for maker, outputs in made.items() if wanted <= outputs and (named or maker) == maker]
        if len(wanted) == len(MADE_TOGETHER) and makers:
            found[slot] = makers[-1]
    return found


def run_of(maker: int | None) -> Run | None:
    return Run.objects.filter(job_id=maker).first() if maker else None


def heldout_of(maker: int | None) -> str:
    """Digest of the rows that a training job held out; "" where it is not known."""
    if maker is None:
        return ""
    found = JobOutput.objects.filter(job_id=maker, slot=HELDOUT_SLOT).values_list("artifact_id", flat=True).first()
    return found or ""


def data_of(variant: Variant | None, project_id: int) -> list[DatasetVersion]:
    """The dataset versions that went into the job that made this variant, as its lineage recorded them.

    As recorded, not as found again: other versions of equal bytes may have come since.
    """
    if variant is None or variant.job_id is None:
        return []
    edges = Edge.objects.filter(
        project_id=project_id, target_type="job", target_id=str(variant.job_id), source_type="dataset_version"
    )
    keys = edges.order_by().values_list(Cast("source_id", BigIntegerField()), flat=True)
    found = DatasetVersion.objects.filter(pk__in=keys, dataset__project_id=project_id)
    return list(found.select_related("dataset").defer("manifest").order_by("pk"))


# -- lineage --------------------------------------------------------------------------------------------------------
def job_end(job: Job) -> End:
    return End("job", str(job.pk), label=str(job))


def artifact_end(digest: str, label: str) -> End:
    return End("artifact", digest, digest, label)


def variant_end(variant: Variant) -> End:
    return End("variant", str(variant.pk), variant.artifact_id, str(variant))


def version_end(version: ModelVersion) -> End:
    return End("model_version", str(version.pk), version.digest, str(version))


def edges_of(job: Job, version: ModelVersion, variants: Sequence[Variant]) -> list[EdgeSpec]:
    """What the register job took, what it made, and from the bytes of each form by its variant to the version."""
    here, there = job_end(job), version_end(version)
    edges = [EdgeSpec.between(here, there, "version")]
    for variant in variants:
        file = artifact_end(variant.artifact_id, variant.file)
        edges += [
            EdgeSpec.between(file, here, variant.name),
            EdgeSpec.between(file, variant_end(variant), variant.name),
            EdgeSpec.between(variant_end(variant), there, variant.name),
        ]
    return edges


def model_edges(
    job: Job, inputs: Mapping[str, End], outputs: Iterable[tuple[str, Artifact, str, str, Mapping[str, Any]]]
) -> list[EdgeSpec]:
    """Of a job that makes a model: what went in by each slot, and the file that came out."""
    here = job_end(job)
    edges = [EdgeSpec.between(end, here, slot) for slot, end in inputs.items()]
    return edges + [
        EdgeSpec.between(here, artifact_end(artifact.pk, name), slot)
        for slot, artifact, name, _, _ in outputs
        if slot == MODEL_SLOT
    ]
