"""The ends that an edge may have. Lineage knows them by name only; an app that adds one writes it here."""

from __future__ import annotations

import re
from dataclasses import dataclass

from apps.core.errors import Invalid
from apps.core.request_values import validate_choice
from deepseek.messages import N_

END_TYPES = (
    "source",
    "artifact",
    "dataset_version",
    "job",
    "run",
    "logged_model",
    "variant",
    "model_version",
    "release",
    "foreign_job",
    "foreign_dataset",
    "label_schema",
    "annotator",
)
ID = re.compile(r"[0-9A-Za-z][0-9A-Za-z._:-]{0,79}")
DIGEST = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class End:
    """A type and an id ("job", "7"), with its digest and the label it had, where there are such."""

    type: str
    id: str
    digest: str = ""
    label: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class EdgeSpec:
    """The source went into the target; `role` is the slot that it went in by, or came out of."""

    source_type: str
    source_id: str
    source_digest: str = ""
    source_label: str = ""
    target_type: str
    target_id: str
    target_digest: str = ""
    target_label: str = ""
    role: str

    @classmethod
    def between(cls, source: End, target: End, role: str) -> EdgeSpec:
        return cls(
            source_type=source.type,
            source_id=source.id,
            source_digest=source.digest,
            source_label=source.label,
            target_type=target.type,
            target_id=target.id,
            target_digest=target.digest,
            target_label=target.label,
            role=role,
        )

    @property
    def key(self) -> tuple[str, str, str, str, str]:
        """What makes two edges the same."""
        return self.source_type, self.source_id, self.target_type, self.target_id, self.role


def check_end(type: str, id: str) -> None:
    """Raise Invalid for a type that is not one of END_TYPES, or an id that cannot be one."""
    hint = N_("Name the type of the object whose lineage you want.")
    validate_choice("type", type, END_TYPES, N_("{found!r} is not a type of lineage end."), required=True, hint=hint)
    if not ID.fullmatch(id):
        raise Invalid(
            "{id!r} cannot be an id.",
            id=id[:80],
            field="id",
            limit="1 to 80 letters, digits, dots, colons, hyphens and underscores",
            hint=N_(
                "The id of an artifact or a source is a digest, that of a run 32 hex digits; all others are numbers."
            ),
        )


def check_edge(edge: EdgeSpec) -> None:
    """Raise Invalid for an edge that could not be stored, or that leads from an end to itself."""
    check_end(edge.source_type, edge.source_id)
    check_end(edge.target_type, edge.target_id)
    for digest in (edge.source_digest, edge.target_digest):
        if digest and not DIGEST.fullmatch(digest):
            raise Invalid(
                "{digest!r} is not a digest.",
                digest=digest[:70],
                field="digest",
                limit="64 lower-case hex digits, or empty",
            )
    if (edge.source_type, edge.source_id) == (edge.target_type, edge.target_id):
        raise Invalid(
            "An edge cannot lead from {source_type} {source_id} to itself.",
            source_type=edge.source_type,
            source_id=edge.source_id,
            field="target",
            hint=N_("Record what went in and what came out."),
        )
    if not edge.role or len(edge.role) > 60:
        raise Invalid("{role!r} cannot be a role.", role=edge.role[:70], field="role", limit="1 to 60 characters")
