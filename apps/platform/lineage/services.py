"""The writes of lineage: edges, recorded where outputs are registered."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import asdict

from django.db import transaction
from django.db.models import Q

from apps.core import policy
from apps.core.actors import Actor
from apps.platform.accounts.models import Project
from apps.platform.audit import services as audit
from apps.platform.lineage.ends import EdgeSpec, check_edge
from apps.platform.lineage.models import Edge

__all__ = ["EdgeSpec", "build_edge_rows", "forget_edges", "record_edges", "record_with"]

LABEL_LENGTH = 160
EDGES_PER_QUERY = 200  # edges of one query: SQLite takes no condition of more than a thousand parts


def record_edges(*, actor: Actor, project: Project, edges: Sequence[EdgeSpec]) -> int:
    """Record those of `edges` that the project does not have yet; their number is returned.

    Safe to repeat and to race: the unique constraint decides. One audit record for all new edges, none if none is new.
    Raises Invalid for an edge of nonsense; nothing is written then.
    """
    policy.require(actor, "lineage.record", project)
    for edge in edges:
        check_edge(edge)
    new_edges = {edge.key: edge for edge in edges}
    if not new_edges:
        return 0
    with transaction.atomic():
        present = find_recorded_keys(project, list(new_edges.values()))
        fresh = {key: edge for key, edge in new_edges.items() if key not in present}
        if fresh:
            Edge.objects.bulk_create([build_edge_row(project, edge) for edge in fresh.values()], ignore_conflicts=True)
            audit.record(
                actor=actor,
                action="lineage.record",
                obj=project,
                after={"edges": [" ".join(key) for key in fresh]},
            )
    return len(fresh)


def record_with(project: Project, edges: Sequence[EdgeSpec]) -> None:
    """The same for a write whose own record names both ends of every edge: no right and no record of its own, and one
    statement. Call it in the transaction of that write.
    """
    if edges:
        Edge.objects.bulk_create(build_edge_rows(project, edges), ignore_conflicts=True)


def forget_edges(project: Project, jobs: Collection[int]) -> None:
    """Forget what went into these jobs and came out of them, for a write whose own record tells it: no right and no
    record of its own. Call it in the transaction of that write.
    """
    names = [str(pk) for pk in jobs]
    ends = Q(source_type="job", source_id__in=names) | Q(target_type="job", target_id__in=names)
    Edge.objects.filter(ends, project=project).delete()


def build_edge_rows(project: Project, edges: Sequence[EdgeSpec]) -> list[Edge]:
    """What `record_with` would write, for a write that takes it along in its own statement (fast_sql.insert_rows),
    but for what is there already.
    """
    for edge in edges:
        check_edge(edge)
    return [build_edge_row(project, edge) for edge in edges]


def find_recorded_keys(project: Project, edges: Sequence[EdgeSpec]) -> set[tuple[str, str, str, str, str]]:
    """Keys of those of `edges` that are recorded already; a query for each ASKED of them."""
    fields = ("source_type", "source_id", "target_type", "target_id", "role")
    recorded: set[tuple[str, str, str, str, str]] = set()
    for start in range(0, len(edges), EDGES_PER_QUERY):
        same = Q(pk__in=())
        for edge in edges[start : start + EDGES_PER_QUERY]:
            same |= Q(**dict(zip(fields, edge.key, strict=True)))
        recorded |= set(Edge.objects.filter(same, project=project).values_list(*fields))
    return recorded


def build_edge_row(project: Project, edge: EdgeSpec) -> Edge:
    values = asdict(edge)
    for label in ("source_label", "target_label"):
        values[label] = values[label][:LABEL_LENGTH]
    return Edge(project=project, **values)
