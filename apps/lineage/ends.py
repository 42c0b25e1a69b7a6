"""The ends that an edge may have. Lineage knows them by name only; an app that adds one writes it here."""

from __future__ import annotations

import re
from dataclasses import dataclass

from apps.errors import Invalid

END_TYPES = ("artifact", "dataset_version", "job")
ID = re.compile(r"[0-9A-Za-z][0-9A-Za-z._:-]{0,79}")
DIGEST = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class End:
    """A type and an id ("job", "7"), with its digest and the label it had, where there are such."""

    type: str
    id: str
    digest: str = ""
    label: str = ""

    @property
    def key(self) -> tuple[str, str]:
        return self.type, self.id


@dataclass(frozen=True, slots=True)
class EdgeSpec:
    """`source` went into `target`; `role` is the slot that it went in by, or came out of."""

    source: End
    target: End
    role: str


def check_end(type: str, id: str) -> None:
    """Raise Invalid for a type that is not one of END_TYPES, or an id that cannot be one."""
    if type not in END_TYPES:
        raise Invalid(
            f"{type[:40]!r} is not a type of lineage end.",
            field="type",
            limit=", ".join(END_TYPES),
            hint="Name the type of the object whose lineage you want.",
        )
    if not ID.fullmatch(id):
        raise Invalid(
            f"{id[:80]!r} cannot be an id.",
            field="id",
            limit="1 to 80 letters, digits, dots, colons, hyphens and underscores",
            hint="An artifact's id is its digest; a dataset version and a job have numbers.",
        )


def check_edge(edge: EdgeSpec) -> None:
    """Raise Invalid for an edge that could not be stored, or that leads from an end to itself."""
    for end in (edge.source, edge.target):
        check_end(end.type, end.id)
        if end.digest and not DIGEST.fullmatch(end.digest):
            raise Invalid(
                f"{end.digest[:70]!r} is not a digest.", field="digest", limit="64 lower-case hex digits, or empty"
            )
    if edge.source.key == edge.target.key:
        raise Invalid(
            f"An edge cannot lead from {edge.source.type} {edge.source.id} to itself.",
            field="target",
            hint="Record what went in and what came out.",
        )
    if not edge.role or len(edge.role) > 60:
        raise Invalid(f"{edge.role[:70]!r} cannot be a role.", field="role", limit="1 to 60 characters")
