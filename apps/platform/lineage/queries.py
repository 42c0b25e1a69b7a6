"""The graph around one object: what it was made from, what was made from it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from itertools import islice
from typing import Any, NamedTuple

from django.db import connection
from django.db.models import Q, Subquery
from django.db.models.expressions import RawSQL

from apps.core import policy
from apps.core.actors import Actor
from apps.core.errors import Invalid
from apps.core.request_values import validate_choice
from apps.platform.accounts.models import Project
from apps.platform.lineage.ends import End, check_end
from apps.platform.lineage.models import Edge
from apps.platform.lineage.traversal import UP, Key, Way, is_side_cut, is_walk_cut, walk_edges
from deepseek.messages import N_

DIRECTIONS = ("up", "down", "both")
MAX_DEPTH = 50
MAX_NODES = 1000
EDGES_PER_NODE = 4  # a graph denser than this is cut: nobody can read it, and a hub must not fill the memory
FIRST_STEPS, STEPS_PER_NODE = 2, 6  # of the walk: an edge is met once for each length of a way to it


@dataclass(slots=True)
class GraphNode:
    """`depth` counts edges from the root: negative upstream (what it was made from), positive downstream."""

    type: str
    id: str
    digest: str
    label: str
    depth: int


@dataclass(slots=True)
class Graph:
    root: Key
    nodes: dict[Key, GraphNode]
    edges: dict[int, EdgeRow] = field(default_factory=dict)
    truncated: bool = False  # there is more than `limit` nodes, or than is readable

    def add(self, type: str, id: str, digest: str, label: str, depth: int) -> bool:
        """Whether the node is new. The root learns its digest and label from the first edge that has them."""
        node = self.nodes.get((type, id))
        if node is None:
            self.nodes[type, id] = GraphNode(type, id, digest, label, depth)
            return True
        node.digest, node.label = node.digest or digest, node.label or label
        return False


def fetch_graph(
    actor: Actor,
    project: Project,
    type: str,
    id: str,
    *,
    direction: str = "both",
    depth: int = 3,
    limit: int = MAX_NODES,
) -> Graph:
    """Ancestors and descendants of one end, breadth first; two queries, however deep, three where ways cross much.

    "both" is the ancestors and the descendants, not the siblings: what shares a parent with the root has no part in it.
    Cycles end with the depth. Raises Invalid for a type, id, direction, depth or limit of nonsense.
    """
    policy.require(actor, "lineage.view", project)
    check_end(type, id)
    check_choices(direction, depth, limit)
    result = Graph(root=(type, id), nodes={(type, id): GraphNode(type, id, "", "", 0)})
    chosen: dict[int, int] = {}
    for steps in (FIRST_STEPS, STEPS_PER_NODE):
        fan, most = limit * EDGES_PER_NODE, limit * steps
        ways = walk_edges(project, (type, id), direction, depth, fan, most)
        result.truncated = is_walk_cut(ways, fan, most)
        chosen, met = select_nearest_edges(result, ways, limit)
        if met >= limit or not is_side_cut(ways, most):
            break  # else the first steps met few nodes again and again: more of them are worth their time
    edges = fetch_edges(actor, list(chosen))
    for pk, level in chosen.items():
        if pk in edges:
            add(result, edges[pk], level)
    return result


class EdgeRow(NamedTuple):
    """An edge as it is shown: a row without the weight of a model, of which a graph may hold thousands."""

    pk: int
    source_type: str
    source_id: str
    source_digest: str
    source_label: str
    target_type: str
    target_id: str
    target_digest: str
    target_label: str
    role: str
    created_at: datetime


# Any number of keys in one parameter: a list of thousands costs a statement that is parsed anew each time.
KEYS: dict[str, tuple[str, Callable[[list[int]], Any]]] = {
    "postgresql": ("SELECT unnest(%s::bigint[])", list),
    "sqlite": ("SELECT value FROM json_each(%s)", json.dumps),
}


def fetch_edges(actor: Actor, keys: list[int]) -> dict[int, EdgeRow]:
    """{key: the edge} of those that the actor may see. One query, however many."""
    query, packed = KEYS[connection.vendor]
    among = RawSQL(query, (packed(keys),))  # noqa: S611  the keys are a parameter
    rows = Edge.objects.visible_to(actor).filter(pk__in=among).values_list(*EdgeRow._fields)
    return {row[0]: EdgeRow._make(row) for row in rows}


def find_end(actor: Actor, project: Project, end: Key) -> End | None:
    """The end as the newest edge that knows it calls it; None where none does. One query."""
    policy.require(actor, "lineage.view", project)
    visible = Edge.objects.visible_to(actor).filter(project=project)
    source, target = Q(source_type=end[0], source_id=end[1]), Q(target_type=end[0], target_id=end[1])
    # By each index the newest: over both together the table would be read.
    newest: list[Any] = [
        Subquery(visible.filter(end_filter).order_by("-id").values("pk")[:1]) for end_filter in (source, target)
    ]
    edge = visible.filter(pk__in=newest).order_by("-id").first()
    if edge is None:
        return None
    if (edge.source_type, edge.source_id) == end:
        return End(*end, digest=edge.source_digest, label=edge.source_label)
    return End(*end, digest=edge.target_digest, label=edge.target_label)


def check_choices(direction: str, depth: int, limit: int) -> None:
    validate_choice("direction", direction, DIRECTIONS, N_("{found!r} is not a direction."), required=True)
    for name, value, most in (("depth", depth, MAX_DEPTH), ("limit", limit, MAX_NODES)):
        if not 1 <= value <= most:
            raise Invalid(
                "{name} is {found}.",
                name=name,
                found=value,
                field=name,
                limit=f"1 to {most}",
                hint=N_("Go on from a node at the edge of the graph."),
            )


def select_nearest_edges(graph: Graph, ways: list[Way], limit: int) -> tuple[dict[int, int], int]:
    """{edge: its level, negative upstream} of those that fit, the nearest first, and the number of nodes they join.

    Half of the room is kept for ancestors: a hub of descendants would push out the first data that all comes from.
    """
    chosen: dict[int, int] = {}
    nodes = {graph.root}
    above = dict.fromkeys((way.far_type, way.far_id) for way in ways if way.side == UP)
    pending = set(islice(above, limit // 2)) - nodes  # of these, the ones that are still to come
    for way in ways:
        if way.edge in chosen:
            continue
        fresh = {key for key in ((way.near_type, way.near_id), (way.far_type, way.far_id)) if key not in nodes}
        if len(nodes) + len(pending) + len(fresh - pending) > limit or len(chosen) >= limit * EDGES_PER_NODE:
            graph.truncated = True
            continue
        nodes |= fresh
        pending -= fresh
        chosen[way.edge] = -way.level if way.side == UP else way.level
    return chosen, len(nodes)


def add(graph: Graph, edge: EdgeRow, level: int) -> None:
    """Add an edge and its ends."""
    near = level + 1 if level < 0 else level - 1
    graph.edges[edge.pk] = edge
    graph.add(edge.source_type, edge.source_id, edge.source_digest, edge.source_label, level if level < 0 else near)
    graph.add(edge.target_type, edge.target_id, edge.target_digest, edge.target_label, near if level < 0 else level)
