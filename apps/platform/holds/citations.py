"""Artifacts that a legal hold protects. Registered in ARTIFACT_CITATIONS."""

from __future__ import annotations

from collections.abc import Collection

from apps.platform.artifacts.models import Holding
from apps.platform.holds.models import Hold


def cited_artifacts(digests: Collection[str]) -> set[str]:
    """Those of `digests` that are held themselves, or that a project holds which is held as a whole."""
    now = Hold.objects.filter(released_at=None)
    artifact_ids = set(now.filter(object_type="artifact", object_id__in=digests).values_list("object_id", flat=True))
    projects = list(now.filter(object_type="project").values_list("project_id", flat=True))
    if not projects:
        return artifact_ids
    theirs = Holding.objects.filter(project__in=projects, artifact__in=digests)
    return artifact_ids | set(theirs.values_list("artifact_id", flat=True))
