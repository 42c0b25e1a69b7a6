"""Known vulnerabilities of components, by the feed of advisories that was carried in (docs/packages.md)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from packaging.version import InvalidVersion, Version

from apps.site.compliance.supply.components import Component
from apps.site.mirror.advisory_matching import is_affected
from apps.site.mirror.models import Advisory

MAX_NAMES_PER_QUERY = 500


@dataclass(frozen=True, slots=True, order=True)
class Vulnerability:
    component: str
    version: str
    advisory_id: str
    severity: str
    summary: str
    aliases: tuple[str, ...]


def find_vulnerabilities(components: Iterable[Component]) -> list[Vulnerability]:
    """Every advisory of the last feed about one of the components, in the order of their names."""
    by_name: dict[str, list[Component]] = {}
    for component in components:
        by_name.setdefault(component.name, []).append(component)
    names, matches = sorted(by_name), set[Vulnerability]()
    for start in range(0, len(names), MAX_NAMES_PER_QUERY):
        for row in Advisory.objects.filter(package_name__in=names[start : start + MAX_NAMES_PER_QUERY]):
            for component in by_name[row.package_name]:
                if is_version_affected(row, component.version):
                    matches.add(
                        Vulnerability(
                            component.name,
                            component.version,
                            row.advisory_id,
                            row.severity,
                            row.summary,
                            tuple(row.aliases),
                        )
                    )
    return sorted(matches)


def is_version_affected(row: Advisory, version: str) -> bool:
    """A version that cannot be read is taken for affected: somebody has to look."""
    try:
        return is_affected(row.affected, Version(version))
    except InvalidVersion:
        return True
