"""Names of dataset versions for pages that know digests or jobs. Reads only."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from django.db.models import CharField, OuterRef, QuerySet, Subquery, Value
from django.db.models.functions import Cast, Concat
from django.urls import reverse

from apps.core.actors import Actor
from apps.data.datasets.models import DatasetFile
from apps.platform.accounts.models import Project
from apps.platform.artifacts.models import Artifact
from apps.platform.lineage.models import Edge


@dataclass(frozen=True, slots=True)
class VersionLink:
    """A dataset version as a page names it."""

    label: str  # "wti v3"
    url: str


def find_versions_by_digest(actor: Actor, project: Project, digests: Iterable[str | None]) -> dict[str, VersionLink]:
    """{digest: the newest version of the project that holds these bytes}. One query at most."""
    files = query_newest_files(actor, project, digests).select_related("version__dataset").defer("version__manifest")
    return {file.artifact_id: build_version_link(file, project.slug) for file in files}


def query_newest_files(actor: Actor, project: Project, digests: Iterable[str | None]) -> QuerySet[DatasetFile]:
    """For each digest the file of the newest version of the project that holds these bytes."""
    unique_digests = {digest for digest in digests if digest}
    if not unique_digests or project.pk not in actor.project_ids:
        return DatasetFile.objects.none()
    # Of each, one row by the index: the same bytes may be in thousands of versions.
    holders = DatasetFile.objects.filter(
        artifact=OuterRef("pk"),
        version__dataset__project=project,
        version__dataset__security_label__lte=actor.clearance,
    )
    newest = Artifact.objects.filter(pk__in=unique_digests).values(
        file=Subquery(holders.order_by("-pk").values("pk")[:1])
    )
    return DatasetFile.objects.filter(pk__in=newest)


def build_version_link(file: DatasetFile, slug: str) -> VersionLink:
    version = file.version
    return VersionLink(str(version), reverse("datasets:version", args=[slug, version.dataset.name, version.number]))


def list_version_edges(actor: Actor, project: Project, jobs: Iterable[int]) -> QuerySet[Edge, tuple[str, str, str]]:
    """(job, name, id) of the dataset versions that these jobs took, as the lineage recorded them; all are texts."""
    edges = Edge.objects.visible_to(actor).filter(
        project=project, target_type="job", target_id__in=[str(job) for job in jobs], source_type="dataset_version"
    )
    return edges.order_by().values_list("target_id", "source_label", "source_id")


def list_digest_versions(
    actor: Actor, project: Project, digests: Iterable[str | None]
) -> QuerySet[DatasetFile, tuple[str, str, str]]:
    """(digest, name, id) of the newest version that holds these bytes; all are texts, as of list_version_edges."""
    number = Cast("version__number", CharField())
    label = Concat("version__dataset__name", Value(" v"), number, output_field=CharField())
    files = query_newest_files(actor, project, digests).order_by()
    return files.values_list("artifact_id", label, Cast("version_id", CharField()))
