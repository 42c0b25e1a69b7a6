"""No database: places in pixels."""

from __future__ import annotations

from itertools import combinations
from random import Random

from apps.platform.lineage.layout import (
    EDGES_DRAWN,
    GAP_Y,
    HEIGHT,
    MARGIN,
    WIDTH,
    assign_layers,
    build_rows,
    count_crossings,
    draw_graph,
    fit_positions,
    map_cell_neighbours,
    order_parents_first,
    order_rows,
)

CHAIN = {"clean": [], "train": ["clean"], "quantize": ["train"], "register": ["train", "quantize"]}
WIDE = {"a": [], "b": [], "a1": ["a"], "b1": ["b"], "a2": ["a1"], "b2": ["b1"], "end": ["a2", "b2"]}


def test_a_step_stands_right_of_its_last_parent():
    assert assign_layers(CHAIN) == {"clean": 0, "train": 1, "quantize": 2, "register": 3}
    places = {box.name: box.x for box in draw_graph(CHAIN).boxes}
    assert places["clean"] < places["train"] < places["quantize"] < places["register"]


def test_boxes_lie_inside_and_none_on_another():
    for graph in (CHAIN, WIDE, {f"s{n}": [] for n in range(9)}):
        found = draw_graph(graph)
        for box in found.boxes:
            assert MARGIN <= box.x <= found.width - WIDTH - MARGIN
            assert MARGIN <= box.y <= found.height - HEIGHT - MARGIN
        for one, other in combinations(found.boxes, 2):
            assert one.x != other.x or abs(one.y - other.y) >= HEIGHT


def test_an_edge_over_a_layer_runs_clear_of_its_boxes():
    found = draw_graph(CHAIN)
    quantize = next(box for box in found.boxes if box.name == "quantize")
    path = next(path for start, end, path in found.edges if (start, end) == ("train", "register"))
    lane = int(path.partition("H")[0].rpartition(" ")[2])
    assert not quantize.y <= lane <= quantize.y + HEIGHT


def test_branches_do_not_cross():
    """Whatever the order of the names, both branches stay on their own side."""
    tangled = {name: WIDE[name] for name in ("a", "b", "b1", "a1", "a2", "b2", "end")}
    heights = {box.name: box.y for box in draw_graph(tangled).boxes}
    above = heights["a"] < heights["b"]
    assert all((heights[f"a{n}"] < heights[f"b{n}"]) == above for n in (1, 2))


def test_two_slots_of_one_parent_are_one_edge():
    assert len(draw_graph({"a": [], "b": ["a", "a"]}).edges) == 1


def test_what_nobody_could_read_is_not_drawn():
    dense = {f"s{n}": [f"s{m}" for m in range(n)] for n in range(30)}
    assert sum(map(len, dense.values())) > EDGES_DRAWN
    assert draw_graph(dense) is None


def test_nothing_to_draw():
    assert draw_graph({}).boxes == []


def edges_down(parents) -> bool:
    found = draw_graph(parents, most=10**6)
    places = {box.name: box.x for box in found.boxes}
    return all(places[start] < places[end] for start, end, _path in found.edges)


def forest(count: int) -> dict[str, list[str]]:
    """A graph as lineage makes them: each node is fed by one to three that came before, the same at every run."""
    draw = Random(7)
    return {
        f"n{n}": [f"n{m}" for m in sorted(draw.sample(range(max(0, n - 40), n), min(n, draw.choice((1, 1, 1, 2, 3)))))]
        for n in range(count)
    }


def test_three_hundred_nodes_lie_apart_and_every_edge_leads_on():
    parents = forest(300)
    boxes = draw_graph(parents, most=1200).boxes
    for one, other in combinations(boxes, 2):
        assert one.x != other.x or abs(one.y - other.y) >= HEIGHT + GAP_Y - 1
    assert edges_down(parents)


def test_sweeps_leave_fewer_crossings():
    parents = forest(120)
    rows, chains = build_rows(parents, assign_layers(parents))
    left, right = map_cell_neighbours(chains)
    assert count_crossings(order_rows(rows, left, right), right) < count_crossings(rows, right) / 2


def test_a_chain_is_straight():
    assert len({box.y for box in draw_graph({f"n{n}": [f"n{n - 1}"] if n else [] for n in range(30)}).boxes}) == 1


def test_places_are_the_nearest_that_keep_the_order():
    row = [("a", 0), ("b", 0), ("c", 0)]
    assert fit_positions(row, [0.0, 0.0, 500.0]) == [-34.0, 34.0, 500.0]


def test_a_cycle_is_cut_and_every_node_is_there():
    parents = order_parents_first("abcd", [("a", "b"), ("b", "c"), ("c", "a"), ("c", "d"), ("a", "a")])
    assert sorted(parents) == list("abcd")
    assert sum(map(len, parents.values())) == 3
    assert edges_down(parents)
