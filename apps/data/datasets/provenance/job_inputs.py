"""Inputs of a job as dataset versions, and the lineage edges that follow from them. Reads only."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from django.db.models import Case, Q, QuerySet, Subquery, When

from apps.data.datasets.models import Dataset, DatasetFile, DatasetVersion
from apps.data.datasets.versions.table_parts import get_table_slot, group_part_slots, query_part_versions
from apps.platform.jobs.models import Job, JobInput
from apps.platform.lineage.ends import EdgeSpec, End

MAX_DIGESTS_PER_QUERY = 100  # SQLite takes expressions of 1,000 parts; a script or a set of images may have thousands


def get_input_digests(job: Job) -> dict[str, str]:
    """{slot: digest} of the inputs whose artifact still exists."""
    return dict(JobInput.objects.filter(job=job, artifact__isnull=False).values_list("slot", "artifact_id"))


@dataclass(frozen=True, slots=True)
class ProducingJob:
    """A job, and {slot: digest} of the inputs whose artifact still exists."""

    job: Job
    slots: Mapping[str, str]


def find_producing_job(project_id: int, pk: int) -> ProducingJob | None:
    """A job of the project with its node, its provenance and its inputs. One query where it has any."""
    of_job = JobInput.objects.filter(job=pk, job__project=project_id).select_related("job__node", "job__provenance")
    inputs = list(of_job.order_by("slot"))
    if inputs:
        return ProducingJob(inputs[0].job, {row.slot: str(row.artifact_id) for row in inputs if row.artifact_id})
    job = Job.objects.filter(pk=pk, project=project_id).select_related("node", "provenance").first()
    return ProducingJob(job, {}) if job else None


def find_source_versions(
    job: Job,
    dataset: Dataset | None,
    slots: Mapping[str, str] | None = None,
    output_version: DatasetVersion | None = None,
) -> dict[str, DatasetVersion]:
    """The version behind each input slot. Equal bytes may be in several: one that was there when the job was submitted,
    or that a job before it made; of this dataset first, then the newest.

    `slots`: the inputs, where they are read already. `output_version`: what the job made of them, where that is there;
    a younger version is no source of it. Versions that the job made itself are none either, even where its output
    equals its input. What came only after the job was submitted is named where nothing else has the bytes. The parts of
    one table are there once, under the slot of the table.
    """
    slots = get_input_digests(job) if slots is None else slots
    best: dict[str, tuple[tuple[bool, bool, int], DatasetVersion]] = {}
    own = dataset.pk if dataset else None
    of_parts = {
        table: version
        for table in group_part_slots(slots)
        if (version := find_part_version(job, slots, table, own, output_version)) is not None
    }
    single = {slot: digest for slot, digest in slots.items() if get_table_slot(slot) not in of_parts}
    digests = sorted(set(single.values()))
    for start in range(0, len(digests), MAX_DIGESTS_PER_QUERY):
        for file in find_candidate_files(job, digests[start : start + MAX_DIGESTS_PER_QUERY], own, output_version):
            version = file.version
            rank = file.could_be_asked_for, version.dataset_id == own, version.pk
            if file.artifact_id not in best or best[file.artifact_id][0] < rank:
                best[file.artifact_id] = rank, version
    return of_parts | {slot: best[digest][1] for slot, digest in single.items() if digest in best}


def find_candidate_files(
    job: Job, digests: Collection[str], own: int | None, output_version: DatasetVersion | None
) -> QuerySet[DatasetFile, Any]:
    """Of each digest the newest file that holds it, of all and of the dataset `own`, each also of those that
    `could_be_asked_for`: four rows at most, by the index. The same bytes may be in thousands of versions.
    """
    asked_for = build_asked_for_filter(job, "version__")
    chosen = Q(pk__in=())
    for digest in sorted(digests):
        files = DatasetFile.objects.filter(artifact=digest, version__dataset__project_id=job.project_id)
        files = files.filter(Q(version__job_id=None) | ~Q(version__job_id=job.pk)).order_by("-version_id")
        if output_version is not None:
            files = files.filter(version_id__lt=output_version.pk)
        for rows in (files, files.filter(version__dataset=own)) if own is not None else (files,):
            chosen |= Q(pk=Subquery(rows.values("pk")[:1])) | Q(pk=Subquery(rows.filter(asked_for).values("pk")[:1]))
    candidates = DatasetFile.objects.filter(chosen).select_related("version__dataset")
    return candidates.annotate(could_be_asked_for=Case(When(asked_for, then=True), default=False)).defer(
        "version__manifest"
    )


def find_part_version(
    job: Job, slots: Mapping[str, str], table: str, own: int | None, output_version: DatasetVersion | None
) -> DatasetVersion | None:
    """The version whose parts are those in the slots below `table`, of several with the same parts by the same rank."""
    versions = query_part_versions(job.project_id, slots, table).filter(Q(job_id=None) | ~Q(job_id=job.pk))
    if output_version is not None:
        versions = versions.filter(pk__lt=output_version.pk)
    order = [Case(When(build_asked_for_filter(job), then=1), default=0).desc()]
    if own is not None:  # no version is it otherwise, and PostgreSQL takes an order by 0 for a column's place
        order.append(Case(When(dataset=own, then=1), default=0).desc())
    return versions.order_by(*order, "-pk").select_related("dataset").defer("manifest").first()


def build_asked_for_filter(job: Job, prefix: str = "") -> Q:
    """Versions that were there when the job was submitted, or that a job before it made; `prefix`: the way to them."""
    before = JobInput.objects.filter(job=job.pk, source_job__isnull=False).values("source_job_id")
    was_there: dict[str, Any] = {f"{prefix}created_at__lte": job.created_at}
    made_before: dict[str, Any] = {f"{prefix}job_id__in": before}
    return Q(**was_there) | Q(**made_before)


def build_edges(job: Job, sources: Mapping[str, DatasetVersion], version: DatasetVersion, slot: str) -> list[EdgeSpec]:
    """Edges from each input (a version, or the artifact if no version has it) to the job, and on to the version."""
    job_end = End("job", str(job.pk), label=str(job))
    edges = [EdgeSpec.between(job_end, build_version_end(version), slot)]
    ends = build_input_ends(get_input_digests(job), sources)
    return [*edges, *(EdgeSpec.between(end, job_end, name) for name, end in ends.items())]


def build_input_ends(slots: Mapping[str, str], sources: Mapping[str, DatasetVersion]) -> dict[str, End]:
    """{slot: what went in}: the version of each input, else its artifact; the parts of a table are one input."""
    ends: dict[str, End] = {}
    for slot, digest in slots.items():
        table = get_table_slot(slot)
        name = table if table in sources else slot
        ends[name] = (
            build_version_end(sources[name]) if name in sources else End("artifact", digest, digest, digest[:12])
        )
    return ends


def build_version_end(version: DatasetVersion) -> End:
    """The version as an end of lineage edges."""
    return End("dataset_version", str(version.pk), version.digest, str(version))
