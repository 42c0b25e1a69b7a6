"""The one write of lineage: edges, recorded where outputs are registered."""

from __future__ import annotations

from collections.abc import Sequence

from django.db import transaction
from django.db.models import Q

from apps import policy
from apps.accounts.models import Project
from apps.actors import Actor
from apps.audit import services as audit
from apps.lineage.ends import EdgeSpec, check_edge
from apps.lineage.models import Edge

LABEL_LENGTH = 160


def record_edges(*, actor: Actor, project: Project, edges: Sequence[EdgeSpec]) -> int:
    """Record those of `edges` that the project does not have yet; their number is returned.

    Safe to repeat and to race: the unique constraint decides. One audit record for all new edges, none if none is new.
    Raises Invalid for an edge of nonsense; nothing is written then.
    """
    policy.require(actor, "lineage.record", project)
    for edge in edges:
        check_edge(edge)
    wanted = {(*edge.source.key, *edge.target.key, edge.role): edge for edge in edges}
    if not wanted:
        return 0
    with transaction.atomic():
        present = known(project, list(wanted.values()))
        fresh = {key: edge for key, edge in wanted.items() if key not in present}
        if fresh:
            Edge.objects.bulk_create([row(project, edge) for edge in fresh.values()], ignore_conflicts=True)
            audit.record(
                actor=actor,
                action="lineage.record",
                obj=project,
                after={"edges": [" ".join(key) for key in fresh]},
            )
    return len(fresh)


def known(project: Project, edges: Sequence[EdgeSpec]) -> set[tuple[str, str, str, str, str]]:
    """Keys of those of `edges` that are recorded already."""
    ends = Q(pk__in=())
    for edge in edges:
        ends |= Q(
            source_type=edge.source.type,
            source_id=edge.source.id,
            target_type=edge.target.type,
            target_id=edge.target.id,
            role=edge.role,
        )
    fields = ("source_type", "source_id", "target_type", "target_id", "role")
    return set(Edge.objects.filter(ends, project=project).values_list(*fields))


def row(project: Project, edge: EdgeSpec) -> Edge:
    return Edge(
        project=project,
        source_type=edge.source.type,
        source_id=edge.source.id,
        source_digest=edge.source.digest,
        source_label=edge.source.label[:LABEL_LENGTH],
        target_type=edge.target.type,
        target_id=edge.target.id,
        target_digest=edge.target.digest,
        target_label=edge.target.label[:LABEL_LENGTH],
        role=edge.role,
    )
