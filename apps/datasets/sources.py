"""What went into a job, as versions of datasets, and the lineage that follows from it. Reads only."""

from __future__ import annotations

from collections.abc import Mapping

from apps.datasets.models import Dataset, DatasetFile, DatasetVersion
from apps.jobs.models import Job, JobInput
from apps.lineage.ends import EdgeSpec, End


def inputs_of(job: Job) -> dict[str, str]:
    """{slot: digest} of the inputs that are there."""
    return dict(JobInput.objects.filter(job=job, artifact__isnull=False).values_list("slot", "artifact_id"))


def sources_of(job: Job, dataset: Dataset | None) -> dict[str, DatasetVersion]:
    """The version behind each input slot. Equal bytes may be in several: of this dataset first, then the newest.

    Versions that the job made itself are no source of it, even where its output equals its input.
    """
    slots = inputs_of(job)
    files = (
        DatasetFile.objects.filter(artifact__in=set(slots.values()), version__dataset__project_id=job.project_id)
        .exclude(version__job_id=job.pk)
        .select_related("version__dataset")
        .order_by("-version_id")
    )
    best: dict[str, DatasetVersion] = {}
    own = dataset.pk if dataset else None
    for file in files:
        held = best.get(file.artifact_id)
        if held is None or (held.dataset_id != own and file.version.dataset_id == own):
            best[file.artifact_id] = file.version
    return {slot: best[digest] for slot, digest in slots.items() if digest in best}


def edges_of(job: Job, sources: Mapping[str, DatasetVersion], version: DatasetVersion, slot: str) -> list[EdgeSpec]:
    """Into the job what its slots held (the bare artifact where no version has it), out of it the version."""
    here = End("job", str(job.pk), label=str(job))
    edges = [EdgeSpec.between(here, end_of(version), slot)]
    for name, digest in inputs_of(job).items():
        end = end_of(sources[name]) if name in sources else End("artifact", digest, digest, digest[:12])
        edges.append(EdgeSpec.between(end, here, name))
    return edges


def end_of(version: DatasetVersion) -> End:
    """The version as an end of lineage edges."""
    return End("dataset_version", str(version.pk), version.digest, str(version))
