"""Which versions an advisory is about (OSV schema: `affected[].versions` and `affected[].ranges`)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from packaging.version import InvalidVersion, Version

from apps.site.mirror.models import Advisory


def list_advisory_ids(package_name: str, version: Version) -> list[str]:
    """The advisories of the last feed about this version; one query."""
    rows = Advisory.objects.filter(package_name=package_name).order_by("advisory_id")
    return [row.advisory_id for row in rows if is_affected(row.affected, version)]


def is_affected(affected: Mapping[str, Any], version: Version) -> bool:
    """Whether the version is listed, or lies within a range."""
    if any(parse_version(text) == version for text in affected["versions"]):
        return True
    return any(is_in_range(events, version) for events in affected["ranges"])


def is_in_range(events: Sequence[Mapping[str, str]], version: Version) -> bool:
    """Whether the events, in the order of their versions, leave the version affected."""
    inside = False
    for kind, at in sort_events(events):
        if kind == "introduced" and at <= version:
            inside = True
        elif (kind == "fixed" and at <= version) or (kind == "last_affected" and at < version):
            inside = False
    return inside


def sort_events(events: Iterable[Mapping[str, str]]) -> list[tuple[str, Version]]:
    """(kind, version) in order; introduced "0" is before everything, what is no version is left out."""
    pairs = []
    for event in events:
        for kind, text in event.items():
            at = Version("0.dev0") if text == "0" else parse_version(text)
            if at is not None and kind in ("introduced", "fixed", "last_affected"):
                pairs.append((kind, at))
    return sorted(pairs, key=lambda pair: (pair[1], pair[0] != "introduced"))


def parse_version(text: str) -> Version | None:
    try:
        return Version(text)
    except InvalidVersion:
        return None
