"""The lineage of what a bundle brings: its ends are those of the source, and those that have rows here are ours.

What stays on the source becomes a foreign job or dataset, by the id of that plane and with its digest, so the way back
to the first data is whole on the target.
"""

from __future__ import annotations

import re
from typing import Any

from apps.platform.lineage.ends import DIGEST, ID, EdgeSpec, End
from apps.site.transfer.export.rows import build_catalogue_error
from deepseek.bundles.spec import BundleManifest

BY_DIGEST = frozenset({"artifact", "source"})  # ends that mean the same on every plane
MAX_EDGES = 200_000
FOREIGN_JOBS = frozenset({"job", "run", "foreign_job"})
JOBS_AND_DATA = FOREIGN_JOBS | {"dataset_version", "foreign_dataset"}
UNSAFE = re.compile(r"[^0-9A-Za-z._-]")


class LineageMap:
    """From the ends of the source to ours."""

    def __init__(self, manifest: BundleManifest) -> None:
        self.source = manifest.head.source
        self.bundle = End("source", manifest.digest, manifest.digest, f"bundle {manifest.head.sequence}"[:160])
        self.ends: dict[tuple[str, str], End] = {}

    def add(self, type: str, id: Any, ours: str, key: Any, digest: str, label: str) -> None:
        """An end of the source has a row here."""
        self.ends[type, str(id)] = End(ours, str(key), digest, label[:160])

    def has(self, type: str, id: Any) -> bool:
        return (type, str(id)) in self.ends

    def build_edges(self, rows: list[dict[str, Any]]) -> list[EdgeSpec]:
        """The edges as they are here, and one from the bundle to each thing that it brought."""
        if len(rows) > MAX_EDGES:
            raise build_catalogue_error("edges", f"there are more than {MAX_EDGES}")
        edges = [EdgeSpec.between(self.bundle, end, "bundle") for end in self.ends.values()]
        for row in rows:
            source, target = self.convert_end(row, "source"), self.convert_end(row, "target")
            role = row.get("role")
            if not isinstance(role, str) or not 0 < len(role) <= 60:
                raise build_catalogue_error("edges", "an edge has no role")
            if (source.type, source.id) != (target.type, target.id):
                edges.append(EdgeSpec.between(source, target, role))
        return list({edge.key: edge for edge in edges}.values())

    def convert_end(self, row: dict[str, Any], side: str) -> End:
        values = [row.get(f"{side}_{name}") for name in ("type", "id", "digest", "label")]
        type, id, digest, label = (value if isinstance(value, str) else "" for value in values)
        if not type or not id:
            raise build_catalogue_error("edges", "an end is not what it must be")
        if digest and not DIGEST.fullmatch(digest):
            raise build_catalogue_error("edges", "an end has no SHA-256")
        ours = self.ends.get((type, id))
        if ours is not None:
            return ours
        if type in BY_DIGEST and ID.fullmatch(id):
            return End(type, id, digest, label)
        kind = "foreign_job" if type in FOREIGN_JOBS else "foreign_dataset"
        key = UNSAFE.sub("-", f"{self.source.id[:12]}.{type}.{id}")[:80]
        words = label or type
        if type not in JOBS_AND_DATA:  # what it is there, which the type of the end does not say
            words = f"{type.replace('_', ' ')} {words}"
        return End(kind, key, digest, f"{words} ({self.source.name})"[:160])
