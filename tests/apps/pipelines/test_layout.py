"""No database: places in pixels."""

from __future__ import annotations

from itertools import combinations

from apps.pipelines.layout import EDGES_DRAWN, HEIGHT, MARGIN, WIDTH, drawn, layers_of

CHAIN = {"clean": [], "train": ["clean"], "quantize": ["train"], "register": ["train", "quantize"]}
WIDE = {"a": [], "b": [], "a1": ["a"], "b1": ["b"], "a2": ["a1"], "b2": ["b1"], "end": ["a2", "b2"]}


def test_a_step_stands_right_of_its_last_parent():
    assert layers_of(CHAIN) == {"clean": 0, "train": 1, "quantize": 2, "register": 3}
    places = {box.name: box.x for box in drawn(CHAIN).boxes}
    assert places["clean"] < places["train"] < places["quantize"] < places["register"]


def test_boxes_lie_inside_and_none_on_another():
    for graph in (CHAIN, WIDE, {f"s{n}": [] for n in range(9)}):
        found = drawn(graph)
        for box in found.boxes:
            assert MARGIN <= box.x <= found.width - WIDTH - MARGIN
            assert MARGIN <= box.y <= found.height - HEIGHT - MARGIN
        for one, other in combinations(found.boxes, 2):
            assert one.x != other.x or abs(one.y - other.y) >= HEIGHT


def test_an_edge_over_a_layer_runs_clear_of_its_boxes():
    found = drawn(CHAIN)
    quantize = next(box for box in found.boxes if box.name == "quantize")
    path = next(path for start, end, path in found.edges if (start, end) == ("train", "register"))
    lane = int(path.partition("H")[0].rpartition(" ")[2])
    assert not quantize.y <= lane <= quantize.y + HEIGHT


def test_branches_do_not_cross():
    """Whatever the order of the names, both branches stay on their own side."""
    tangled = {name: WIDE[name] for name in ("a", "b", "b1", "a1", "a2", "b2", "end")}
    heights = {box.name: box.y for box in drawn(tangled).boxes}
    above = heights["a"] < heights["b"]
    assert all((heights[f"a{n}"] < heights[f"b{n}"]) == above for n in (1, 2))


def test_two_slots_of_one_parent_are_one_edge():
    assert len(drawn({"a": [], "b": ["a", "a"]}).edges) == 1


def test_what_nobody_could_read_is_not_drawn():
    dense = {f"s{n}": [f"s{m}" for m in range(n)] for n in range(30)}
    assert sum(map(len, dense.values())) > EDGES_DRAWN
    assert drawn(dense) is None


def test_nothing_to_draw():
    assert drawn({}).boxes == []
