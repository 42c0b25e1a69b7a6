"""Which artifacts the registry names without a foreign key: the rows that a variant was measured on."""

from __future__ import annotations

from collections.abc import Collection

from apps.registry.models import Variant


def cited_artifacts(digests: Collection[str]) -> set[str]:
    """Those of `digests` that some variant was measured on. One of settings.ARTIFACT_CITATIONS."""
    return set(Variant.objects.filter(heldout__in=digests).values_list("heldout", flat=True).distinct())
