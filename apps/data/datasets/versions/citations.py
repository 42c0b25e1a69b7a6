"""Citations of a dataset version, which prevent its deletion.

Apps below are queried here, and so is every foreign key to a version, whichever app has it. An app above that cites
versions without a key registers a function in VERSION_CITATIONS (docs/adr/0017).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from django.db.models import SET_NULL, Q, QuerySet

from apps.core.registry import Registry
from apps.data.datasets.models import DatasetFile, DatasetVersion, VersionTag
from apps.data.datasets.quality.profile_job_retention import IS_MEASUREMENT, find_profile_jobs
from apps.platform.approvals.fact_names import query_fact_names
from apps.platform.artifacts.garbage import list_foreign_keys_to
from apps.platform.jobs.models import JobInput, JobOutput
from apps.platform.jobs.states import JobState
from apps.platform.lineage.models import Edge

MAX_CITATIONS_PER_KIND = 20  # of one kind


@dataclass(frozen=True, slots=True)
class Citation:
    """`kind` and `label` as a person reads them: "job input", "#12 clean"."""

    kind: str
    label: str


CitationSource = Callable[[DatasetVersion], Iterable[Citation]]
VERSION_CITATIONS: Registry[CitationSource] = Registry("VERSION_CITATIONS")


def list_citations(version: DatasetVersion) -> list[Citation]:
    """The citations of this version, without duplicates, at most MAX_CITATIONS_PER_KIND of a kind."""
    collected = [
        *iter_tag_citations(version),
        *iter_job_citations(version),
        *iter_lineage_citations(version),
        *iter_approval_citations(version),
        *iter_key_citations(version),
    ]
    for cites in VERSION_CITATIONS.values():
        collected += cites(version)
    return list(dict.fromkeys(collected))


def iter_tag_citations(version: DatasetVersion) -> Iterator[Citation]:
    return (Citation("tag", tag.name) for tag in version.tags.order_by("name")[:MAX_CITATIONS_PER_KIND])


def iter_job_citations(version: DatasetVersion) -> Iterator[Citation]:
    """Jobs of the project that took any of its files, or made one: what they did is told by these bytes.

    One that measured it made nothing of it: while it runs it needs the bytes, then it goes by the version.
    """
    files = DatasetFile.objects.filter(version=version).values("artifact")
    for model, kind in ((JobInput, "job input"), (JobOutput, "job output")):
        rows: QuerySet[Any] = model._base_manager.filter(artifact__in=files, job__project=version.project_id)
        rows = rows.exclude(IS_MEASUREMENT & ~Q(job__state=JobState.RUNNING))
        for row in rows.select_related("job").order_by("job_id")[:MAX_CITATIONS_PER_KIND]:
            yield Citation(kind, str(row.job))


def iter_lineage_citations(version: DatasetVersion) -> Iterator[Citation]:
    version_id = str(version.pk)
    ends = Q(source_type="dataset_version", source_id=version_id) | Q(
        target_type="dataset_version", target_id=version_id
    )
    measured = [str(pk) for pk in find_profile_jobs(version).values_list("pk", flat=True)]
    edges = Edge.objects.filter(ends, project=version.project_id).exclude(target_type="job", target_id__in=measured)
    for edge in edges.order_by("pk")[:MAX_CITATIONS_PER_KIND]:
        label = (
            edge.target_label or edge.target_id if edge.source_id == version_id else edge.source_label or edge.source_id
        )
        yield Citation("lineage", label)


def iter_approval_citations(version: DatasetVersion) -> Iterator[Citation]:
    about = (
        query_fact_names(version.project_id, [version.digest])
        .order_by("approval")
        .values_list("approval__title", flat=True)
    )
    return (Citation("approval", title) for title in about[:MAX_CITATIONS_PER_KIND])


def iter_key_citations(version: DatasetVersion) -> Iterator[Citation]:
    """Rows of any app with a key to it; one that may be set to null is of a row that needs no version: a commit."""
    for model, name in list_foreign_keys_to(DatasetVersion):
        if model in (DatasetFile, VersionTag) or model._meta.get_field(name).remote_field.on_delete is SET_NULL:
            continue
        for row in model._base_manager.filter(**{name: version}).order_by("pk")[:MAX_CITATIONS_PER_KIND]:
            yield Citation(str(model._meta.verbose_name), str(row))
