"""The graph around one object: what it was made from, what was made from it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field

from django.db.models import QuerySet

from apps import policy
from apps.accounts.models import Project
from apps.actors import Actor
from apps.errors import Invalid
from apps.lineage.ends import check_end
from apps.lineage.models import Edge

DIRECTIONS = ("up", "down", "both")
MAX_DEPTH = 10
MAX_NODES = 300
EDGES_PER_NODE = 4  # a graph denser than this is cut: nobody can read it, and a hub must not fill the memory

Key = tuple[str, str]


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
    edges: dict[int, Edge] = field(default_factory=dict)
    truncated: bool = False  # there is more than `limit` nodes, or than is readable

    def add(self, type: str, id: str, digest: str, label: str, depth: int) -> bool:
        """Whether the node is new. The root learns its digest and label from the first edge that has them."""
        node = self.nodes.get((type, id))
        if node is None:
            self.nodes[type, id] = GraphNode(type, id, digest, label, depth)
            return True
        node.digest, node.label = node.digest or digest, node.label or label
        return False


def graph(
    actor: Actor,
    project: Project,
    type: str,
    id: str,
    *,
    direction: str = "both",
    depth: int = 3,
    limit: int = MAX_NODES,
) -> Graph:
    """Ancestors and descendants of one end, breadth first, one query per level.

    "both" is the ancestors and the descendants, not the siblings: what shares a parent with the root has no part in it.
    Cycles end by themselves. Raises Invalid for a type, id, direction, depth or limit of nonsense.
    """
    policy.require(actor, "lineage.view", project)
    check_end(type, id)
    check_choices(direction, depth, limit)
    found = Graph(root=(type, id), nodes={(type, id): GraphNode(type, id, "", "", 0)})
    ups: set[Key] = {(type, id)} if direction != "down" else set()
    downs: set[Key] = {(type, id)} if direction != "up" else set()
    seen_up, seen_down = set(ups), set(downs)
    visible = Edge.objects.visible_to(actor).order_by("pk")
    for level in range(1, depth + 1):
        if not (ups or downs):
            break
        room = limit * EDGES_PER_NODE - len(found.edges)
        rows = list(visible.filter(pk__in=touching(project, ups, downs))[: room + 1])
        found.truncated |= len(rows) > room
        ups, downs = step(found, rows[:room], ups, downs, level, limit)
        ups, downs = ups - seen_up, downs - seen_down
        seen_up |= ups
        seen_down |= downs
    return found


def check_choices(direction: str, depth: int, limit: int) -> None:
    if direction not in DIRECTIONS:
        raise Invalid(f"{direction[:20]!r} is not a direction.", field="direction", limit=", ".join(DIRECTIONS))
    for name, value, most in (("depth", depth, MAX_DEPTH), ("limit", limit, MAX_NODES)):
        if not 1 <= value <= most:
            raise Invalid(
                f"{name} is {value}.",
                field=name,
                limit=f"1 to {most}",
                hint="Go on from a node at the edge of the graph.",
            )


def touching(project: Project, ups: Collection[Key], downs: Collection[Key]) -> QuerySet[Edge]:
    """The ids of the project's edges into any of `ups` or out of any of `downs`.

    A union of one branch per index. As one condition with OR, SQLite reads every edge of the project instead.
    """
    here = Edge.objects.filter(project=project).order_by().values("pk")
    into = [here.filter(target_type=type, target_id__in=ids) for type, ids in by_type(ups).items()]
    first, *others = into + [here.filter(source_type=type, source_id__in=ids) for type, ids in by_type(downs).items()]
    return first.union(*others) if others else first


def by_type(keys: Iterable[Key]) -> dict[str, list[str]]:
    grouped: dict[str, list[str]] = defaultdict(list)
    for type, id in sorted(keys):
        grouped[type].append(id)
    return grouped


def step(
    found: Graph, rows: list[Edge], ups: set[Key], downs: set[Key], level: int, limit: int
) -> tuple[set[Key], set[Key]]:
    """Add one level's edges to the graph; the ends beyond them are the next frontier."""
    next_ups: set[Key] = set()
    next_downs: set[Key] = set()
    for edge in rows:
        source, target = (edge.source_type, edge.source_id), (edge.target_type, edge.target_id)
        if any(key not in found.nodes for key in (source, target)) and len(found.nodes) >= limit:
            found.truncated = True
            continue
        found.edges[edge.pk] = edge
        found.add(*source, edge.source_digest, edge.source_label, -level)
        found.add(*target, edge.target_digest, edge.target_label, level)
        if target in ups:
            next_ups.add(source)
        if source in downs:
            next_downs.add(target)
    return next_ups, next_downs
