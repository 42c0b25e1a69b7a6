"""The artifacts that requests of schedules name: until they are submitted again, nothing else may hold them."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any

from apps.platform.calendars.models import Schedule


def find_cited_artifacts(digests: Collection[str]) -> set[str]:
    """Those of `digests` that a schedule's request names, paused ones too. Registered in ARTIFACT_CITATIONS."""
    requests = Schedule.objects.values_list("request", flat=True)
    return {digest for request in requests.iterator() for digest in iterate_digests(request)} & set(digests)


def iterate_digests(value: Any) -> Iterator[str]:
    """Every `digest` in a request: of a job's inputs, or of those of a pipeline's steps."""
    if isinstance(value, dict):
        if isinstance(value.get("digest"), str):
            yield value["digest"]
        for child in value.values():
            yield from iterate_digests(child)
    elif isinstance(value, list):
        for child in value:
            yield from iterate_digests(child)
