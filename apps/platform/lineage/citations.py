"""Which artifacts the lineage names: an edge that leads to bare bytes or from them keeps them."""

from __future__ import annotations

from collections.abc import Collection

from apps.platform.lineage.models import Edge


def cited_artifacts(digests: Collection[str]) -> set[str]:
    """Those of `digests` that are an end of an edge. Registered in ARTIFACT_CITATIONS."""
    into = Edge.objects.filter(source_type="artifact", source_id__in=digests).values_list("source_id", flat=True)
    out = Edge.objects.filter(target_type="artifact", target_id__in=digests).values_list("target_id", flat=True)
    return {*into.distinct(), *out.distinct()}
