"""Which nodes of a graph are drawn as one, which are put away, and which way leads from the sources to an end. Pure."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence

from apps.platform.lineage.queries import Graph
from apps.platform.lineage.traversal import Key

TOGETHER = 4  # siblings that are alike and so drawn as one
READABLE = 120  # boxes of a drawing; of more, the most crowded places are drawn as one each
OPENED = 50  # nodes that stand for themselves when a group is opened; the rest of it stays a group
WAY_APART = 60  # nodes of the main way that stand for themselves; a longer one only colours its edges

Ways = Mapping[Key, Collection[Key]]


def list_edge_ends(graph: Graph) -> list[tuple[Key, Key]]:
    """(source, target) of every edge."""
    return [((edge.source_type, edge.source_id), (edge.target_type, edge.target_id)) for edge in graph.edges.values()]


def map_graph_neighbours(graph: Graph) -> tuple[dict[Key, list[Key]], dict[Key, list[Key]]]:
    """What each node was made from, and what was made of it."""
    above: dict[Key, list[Key]] = defaultdict(list)
    below: dict[Key, list[Key]] = defaultdict(list)
    for source, target in list_edge_ends(graph):
        above[target].append(source)
        below[source].append(target)
    return above, below


def find_reachable(start: Iterable[Key], ways: Ways, stops: Collection[Key] = ()) -> set[Key]:
    """What can be reached from `start` without going past one of `stops`."""
    visited, waiting = set(start), list(start)
    while waiting:
        node = waiting.pop()
        for neighbour in ways.get(node, ()) if node not in stops else ():
            if neighbour not in visited:
                visited.add(neighbour)
                waiting.append(neighbour)
    return visited


def find_visible_nodes(graph: Graph, collapsed: Collection[Key]) -> set[Key]:
    """The nodes that stay when nothing is shown beyond those `collapsed`, seen from the root."""
    above, below = map_graph_neighbours(graph)
    stops = set(collapsed) - {graph.root}
    return find_reachable([graph.root], above, stops) | find_reachable([graph.root], below, stops)


def find_main_path(graph: Graph, marked: Collection[Key]) -> set[Key]:
    """The nodes on a way from a source through the root to one of `marked`, or to wherever the root leads.

    What is marked is in production; a source is what nothing was recorded to be made from.
    """
    above, below = map_graph_neighbours(graph)
    before, after = find_reachable([graph.root], above), find_reachable([graph.root], below)
    ends = [key for key in marked if key in after or key == graph.root]
    if ends:
        return before | (after & find_reachable(ends, above))
    ends = [key for key in marked if key in graph.nodes]
    return find_reachable(ends, above) if ends else before


def group_similar_nodes(graph: Graph, nodes: Collection[Key], apart: Collection[Key]) -> dict[Key, Key]:
    """{node: the one that stands for it}: nodes of one type, as far from the root, that are fed by and feed the same.

    Nodes get a colour by type and depth, and then by the colours of their neighbours, until no colour parts further;
    a colour of fewer than TOGETHER nodes is parted into its nodes, and what hangs on them with it. Those `apart` stand
    for themselves.
    """
    above, below = map_graph_neighbours(graph)
    colours: dict[Key, object] = {
        key: key if key in apart else (graph.nodes[key].type, graph.nodes[key].depth) for key in nodes
    }
    while True:
        colours = refine_colours(colours, above, below)
        sizes = Counter(colours.values())
        few = [key for key, colour in colours.items() if 1 < sizes[colour] < TOGETHER]
        if not few:
            break
        colours |= {key: ("alone", key) for key in few}
    first: dict[object, Key] = {}
    for key in sorted(nodes, key=get_sort_key):
        first.setdefault(colours[key], key)
    return {key: first[colours[key]] for key in nodes}


def refine_colours(colours: Mapping[Key, object], above: Ways, below: Ways) -> dict[Key, object]:
    """The colours parted by those of the neighbours, until that parts none further; as numbers.

    A round looks only at colours beside nodes that the round before has recoloured, and of a colour that parts the most
    nodes keep theirs: what is settled is not looked at again (after Hopcroft, 1971).
    """
    now = number_colours(colours)
    members: dict[int, list[Key]] = defaultdict(list)
    for key, colour in now.items():
        members[colour].append(key)
    fresh, beside = len(members), set(members)
    while beside:
        changed: list[Key] = []
        for colour in beside:
            for part in split_by_neighbours(members[colour], now, above, below):
                members[fresh] = part
                changed += part
                now |= dict.fromkeys(part, fresh)
                fresh += 1
            if changed:
                members[colour] = [key for key in members[colour] if now[key] == colour]
        near = (
            neighbour
            for key in changed
            for ways in (above, below)
            for neighbour in ways.get(key, ())
            if neighbour in now
        )
        beside = {now[key] for key in near if len(members[now[key]]) > 1}
    return dict(now)


def split_by_neighbours(keys: list[Key], now: Mapping[Key, int], above: Ways, below: Ways) -> list[list[Key]]:
    """The nodes of one colour by the colours beside them, without the largest part."""
    if len(keys) < 2:
        return []
    parts: dict[tuple[frozenset[int], frozenset[int]], list[Key]] = defaultdict(list)
    for key in keys:
        up = frozenset([now[neighbour] for neighbour in above.get(key, ()) if neighbour in now])
        down = frozenset([now[neighbour] for neighbour in below.get(key, ()) if neighbour in now])
        parts[up, down].append(key)
    return sorted(parts.values(), key=len)[:-1]


def number_colours(colours: Mapping[Key, object]) -> dict[Key, int]:
    numbers: dict[object, int] = {}
    return {key: numbers.setdefault(colour, len(numbers)) for key, colour in colours.items()}


def bridge_edges(edges: Collection[tuple[Key, Key]], folded: Collection[Key]) -> set[tuple[Key, Key]]:
    """The edges between what is not folded, with one across each way through folded nodes."""
    below: dict[Key, list[Key]] = defaultdict(list)
    for source, target in edges:
        below[source].append(target)
    bridged = {(source, target) for source, target in edges if source not in folded and target not in folded}
    for source, target in edges:
        if source not in folded and target in folded:
            ends = find_reachable([target], {key: below[key] for key in folded if key in below})
            bridged |= {(source, end) for end in ends if end not in folded and end != source}
    return bridged


# -- what is drawn --------------------------------------------------------------------------------------------------
Place = tuple[str, int]
"""A type, and how far from the root."""


def assign_representatives(
    graph: Graph, nodes: Collection[Key], apart: Collection[Key], expand: Sequence[Key]
) -> dict[Key, Key]:
    """{node: the one that stands for it} in a drawing that can be read, however large the graph is.

    Siblings that are alike stand as one. Where that leaves too many boxes, so do all of one type and depth, the most
    crowded places first. Each of `expand` opens what the node stands in: such a place into its groups, and named once
    more, or where there is none, its group into nodes; OPENED of them, from that node on.
    """
    stands = group_similar_nodes(graph, nodes, apart)
    crowded = find_crowded_places(graph, stands, apart)
    expansions = Counter(key for key in expand if key in stands)
    opened = {
        member
        for key, times in expansions.items()
        if times > (get_place(graph, key) in crowded)
        for member in from_on(key, (node for node in nodes if stands[node] == stands[key]))
    }
    if opened:
        stands = group_similar_nodes(graph, nodes, {*apart, *opened})
        crowded |= find_crowded_places(
            graph, stands, {*apart, *opened}
        )  # what hangs on the opened ones has parted with them
    if crowded:
        stands = merge_crowded_groups(graph, stands, crowded, {*apart, *opened}, list(expansions))
    return stands


def find_crowded_places(graph: Graph, stands: Mapping[Key, Key], apart: Collection[Key]) -> set[Place]:
    """The places whose groups are drawn as one, so that no more than READABLE boxes are left; none if there are few."""
    boxes = set(stands.values())
    counts = Counter(get_place(graph, key) for key in boxes - set(apart))
    left, places = len(boxes), set[Place]()
    for place, count in sorted(counts.items(), key=lambda item: (-item[1], item[0])):
        if left <= READABLE or count < 2:
            break
        places.add(place)
        left -= count - 1
    return places


def merge_crowded_groups(
    graph: Graph,
    stands: Mapping[Key, Key],
    crowded: Collection[Place],
    apart: Collection[Key],
    expansions: Sequence[Key],
) -> dict[Key, Key]:
    """`stands` with the groups of each crowded place as one, but for those asked for and those after them."""
    separate = set(apart)
    groups = defaultdict(list)
    for key in sorted(set(stands.values()), key=get_sort_key):
        groups[get_place(graph, key)].append(key)
    for key in expansions:
        separate.update(from_on(stands[key], groups[get_place(graph, key)]))
    first: dict[Place, Key] = {}
    for place in crowded:
        rest = [key for key in groups[place] if key not in separate]
        if rest:
            first[place] = rest[0]
    return {
        key: stand if stand in separate else first.get(get_place(graph, stand), stand) for key, stand in stands.items()
    }


def from_on(key: Key, siblings: Iterable[Key]) -> list[Key]:
    """The node and those after it, OPENED in all."""
    ordered = sorted(siblings, key=get_sort_key)
    at = ordered.index(key) if key in ordered else 0
    return ordered[at : at + OPENED]


def get_place(graph: Graph, key: Key) -> Place:
    return key[0], graph.nodes[key].depth


def get_sort_key(key: Key) -> tuple[str, int, str]:
    """The order of nodes: numbers by their size."""
    return key[0], len(key[1]), key[1]
