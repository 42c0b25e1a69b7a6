"""Which nodes are drawn as one, what is put away, and the way that is drawn thick. No database."""

from __future__ import annotations

from collections import Counter

import pytest

from apps.platform.lineage.grouping import (
    OPENED,
    READABLE,
    assign_representatives,
    bridge_edges,
    find_main_path,
    find_visible_nodes,
    group_similar_nodes,
)
from apps.platform.lineage.models import Edge
from apps.platform.lineage.queries import Graph, GraphNode


def graph_of(*pairs, root):
    """A graph of edges ("job:1", "run:2"), with depths from the root by the shortest way."""
    key = lambda text: tuple(text.split(":"))  # noqa: E731
    found = Graph(root=key(root), nodes={})
    for number, (source, target) in enumerate(pairs):
        ends = dict(
            zip(("source_type", "source_id", "target_type", "target_id"), (*key(source), *key(target)), strict=True)
        )
        found.edges[number] = Edge(pk=number, role="r", **ends)
    depths = {root: 0}
    for _round in pairs:
        for source, target in pairs:
            if source in depths and depths[source] >= 0:
                depths.setdefault(target, depths[source] + 1)
            if target in depths and depths[target] <= 0:
                depths.setdefault(source, depths[target] - 1)
    found.nodes = {key(name): GraphNode(*key(name), "", "", depth) for name, depth in depths.items()}
    return found


def sizes(found, apart=()) -> list[int]:
    stands = group_similar_nodes(found, found.nodes, {found.root, *apart})
    return sorted(list(stands.values()).count(one) for one in set(stands.values()))


def test_siblings_that_are_alike_stand_as_one():
    found = graph_of(*(("dataset_version:1", f"job:{n}") for n in range(14)), root="dataset_version:1")
    assert sizes(found) == [1, 14]


def test_three_of_a_kind_stay_three():
    found = graph_of(*(("dataset_version:1", f"job:{n}") for n in range(3)), root="dataset_version:1")
    assert sizes(found) == [1, 1, 1, 1]


def test_a_sibling_that_leads_on_stands_apart():
    pairs = [("dataset_version:1", f"job:{n}") for n in range(9)]
    assert sizes(graph_of(*pairs, ("job:8", "run:1"), root="dataset_version:1")) == [1, 1, 1, 8]


def test_whole_branches_that_are_alike_stand_as_one():
    pairs = [("dataset_version:1", f"job:{n}") for n in range(6)] + [(f"job:{n}", f"run:{n}") for n in range(6)]
    assert sizes(graph_of(*pairs, root="dataset_version:1")) == [1, 6, 6]


def test_what_hangs_on_few_is_not_mixed():
    """Two versions stay two, so their jobs are not one: it would not be told which came from which."""
    pairs = [("job:0", f"dataset_version:{v}") for v in (1, 2)]
    pairs += [(f"dataset_version:{v}", f"job:{v}{n}") for v in (1, 2) for n in range(5)]
    assert sizes(graph_of(*pairs, root="job:0")) == [1, 1, 1, 5, 5]


def test_a_chain_stays_a_chain():
    found = graph_of(*((f"job:{n}", f"job:{n + 1}") for n in range(300)), root="job:150")
    assert set(sizes(found)) == {1}


@pytest.mark.parametrize(
    ("collapsed", "left"), [([], 5), ([("job", "2")], 3), ([("job", "3")], 4), ([("job", "1")], 5)]
)
def test_what_lies_beyond_is_put_away(collapsed, left):
    chain = graph_of(*((f"job:{n}", f"job:{n + 1}") for n in range(4)), root="job:0")
    chain.root = ("job", "0")
    assert len(find_visible_nodes(chain, [key if key != ("job", "1") else ("job", "9") for key in collapsed])) == left


def test_what_is_reached_another_way_stays():
    found = graph_of(("job:0", "job:1"), ("job:0", "job:2"), ("job:1", "job:3"), ("job:2", "job:3"), root="job:0")
    assert ("job", "3") in find_visible_nodes(found, [("job", "1")])


def test_the_main_way_leads_from_the_sources_to_production():
    pairs = [("job:0", "job:1"), ("job:1", "model_version:1"), ("job:1", "model_version:2"), ("job:0", "job:7")]
    found = graph_of(*pairs, root="job:0")
    assert find_main_path(found, [("model_version", "2")]) == {("job", "0"), ("job", "1"), ("model_version", "2")}


def test_without_production_it_leads_to_the_root():
    found = graph_of(("job:0", "job:1"), ("job:1", "job:2"), root="job:1")
    assert find_main_path(found, []) == {("job", "0"), ("job", "1")}


# -- a thousand nodes -----------------------------------------------------------------------------------------------
def thousand():
    """Jobs of one version, each with a chain of files of a length of its own: no two nodes are alike."""
    pairs = [("dataset_version:1", f"job:{n}") for n in range(1, 45)]
    pairs += [(f"job:{n}", f"artifact:{n}x1") for n in range(1, 45)]
    pairs += [(f"artifact:{n}x{k}", f"artifact:{n}x{k + 1}") for n in range(1, 45) for k in range(1, n)]
    return graph_of(*pairs, root="dataset_version:1")


def boxes(found, *expand):
    stands = assign_representatives(found, found.nodes, {found.root}, [tuple(one.split(":")) for one in expand])
    assert set(stands) == set(found.nodes)
    return Counter(stands.values())


def test_a_thousand_nodes_are_few_boxes():
    found = thousand()
    assert len(boxes(found)) <= READABLE


def test_a_crowded_place_opens_and_the_rest_stays_readable():
    found = thousand()
    assert len(set(group_similar_nodes(found, found.nodes, {found.root}).values())) == len(found.nodes) == 1035
    first = boxes(found)
    place = max(first, key=lambda key: first[key])
    opened = boxes(found, ":".join(place))
    assert len(opened) == len(first) + first[place] - 1 <= READABLE + OPENED


def test_a_large_group_opens_a_part_at_a_time():
    found = graph_of(*(("dataset_version:1", f"job:{n}") for n in range(400)), root="dataset_version:1")
    assert sorted(boxes(found).values()) == [1, 400]
    opened = boxes(found, "job:0")
    assert sorted(opened.values())[-1] == 400 - OPENED
    rest = max(opened, key=lambda key: opened[key])
    assert sorted(boxes(found, "job:0", ":".join(rest)).values())[-1] == 400 - 2 * OPENED


def test_few_nodes_stay_as_they_were():
    found = graph_of(*((f"job:{n}", f"job:{n + 1}") for n in range(40)), root="job:0")
    assert set(boxes(found).values()) == {1}


def test_an_edge_goes_across_what_is_folded():
    edges = [("a", "f"), ("f", "g"), ("g", "b"), ("f", "c"), ("a", "d"), ("b", "h")]
    assert bridge_edges(edges, {"f", "g", "h"}) == {("a", "b"), ("a", "c"), ("a", "d")}
    assert bridge_edges([("a", "f"), ("f", "g"), ("g", "f"), ("f", "a")], {"f", "g"}) == set()
