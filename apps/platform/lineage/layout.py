"""Where the nodes of a graph stand and how its edges run, in pixels: layers from left to right. Pure.

After Sugiyama, Tagawa and Toda, Methods for visual understanding of hierarchical system structures (1981): a node
stands one layer right of its last parent; an edge over several layers gets a lane in each layer that it crosses; within
a layer the order follows the mean place of the neighbours, so that few edges cross, the best order of some sweeps; and
each cell then stands as near to its neighbours as the others of its layer let it, by least squares.
"""

from __future__ import annotations

from bisect import bisect_right, insort
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import fmean

WIDTH, HEIGHT = 176, 52  # of a node
GAP_X, GAP_Y = 44, 16
LANE = 12  # height of the place that an edge takes in a layer that it crosses
SWEEPS = 8  # of the order
PULLS = 6  # of the places
EDGES_DRAWN = 300  # nobody can follow more, and each takes a lane in every layer that it crosses
LANES = 4000  # of all edges; those that come then run straight through
MARGIN = 2  # so that outlines are not cut

Cell = tuple[str, int]
"""A node's name and 0; or the name of an edge's end and the number of its lane, from 1"""


@dataclass(frozen=True, slots=True)
class Box:
    name: str
    x: int
    y: int
    width: int = WIDTH
    height: int = HEIGHT


@dataclass(frozen=True, slots=True)
class Drawing:
    width: int
    height: int
    boxes: list[Box]
    edges: list[tuple[str, str, str]]  # (from, to, path)


def draw_graph(parents: Mapping[str, Sequence[str]], *, most: int = EDGES_DRAWN) -> Drawing | None:
    """`parents`: each node, parents before children, with those that feed it; what is no key is not drawn.

    None for more than `most` edges, a graph too dense to be read: a table tells more.
    """
    if sum(len(above) for above in parents.values()) > most:
        return None
    layers = assign_layers(parents)
    rows, chains = build_rows(parents, layers)
    left, right = map_cell_neighbours(chains)
    rows = order_rows(rows, left, right)
    tops = compute_tops(rows, left, right)
    shift = MARGIN - min(tops.values(), default=0.0)
    places = {
        cell: (MARGIN + number * (WIDTH + GAP_X), round(tops[cell] + shift))
        for number, row in enumerate(rows)
        for cell in row
    }
    boxes = [Box(name, *places[name, 0]) for name in parents]
    edges = [(chain[0][0], chain[-1][0], build_svg_path(chain, places)) for chain in chains]
    wide = len(rows) * (WIDTH + GAP_X) - GAP_X if rows else 0
    tall = max((y + get_height(cell) for cell, (_x, y) in places.items()), default=MARGIN)
    return Drawing(wide + 2 * MARGIN, tall + MARGIN, boxes, edges)


def order_parents_first(nodes: Iterable[str], edges: Iterable[tuple[str, str]]) -> dict[str, list[str]]:
    """The mapping that `drawn` takes, of nodes and edges (from, to); an edge that would close a cycle is left out."""
    above: dict[str, list[str]] = {node: [] for node in nodes}
    below: dict[str, list[str]] = {node: [] for node in above}
    for source, target in dict.fromkeys(edges):
        if source in above and target in above and source != target:
            above[target].append(source)
            below[source].append(target)
    waits = {node: len(set(parents)) for node, parents in above.items()}
    ready = [node for node, count in waits.items() if count == 0]
    order: dict[str, list[str]] = {}
    while len(order) < len(above):
        if not ready:  # a cycle: it is cut where the fewest edges are lost
            ready.append(min((node for node in above if node not in order), key=waits.__getitem__))
        node = ready.pop(0)
        if node in order:
            continue
        order[node] = [parent for parent in above[node] if parent in order]
        for child in below[node]:
            waits[child] -= 1
            if waits[child] == 0:
                ready.append(child)
    return order


def assign_layers(parents: Mapping[str, Sequence[str]]) -> dict[str, int]:
    """The layer of each node: the length of the longest way to it."""
    layers: dict[str, int] = {}
    for name, above in parents.items():
        layers[name] = max((layers[parent] + 1 for parent in above if parent in layers), default=0)
    return layers


def build_rows(
    parents: Mapping[str, Sequence[str]], layers: Mapping[str, int]
) -> tuple[list[list[Cell]], list[list[Cell]]]:
    """The cells of each layer, and each edge as the chain of cells that it goes through."""
    rows: list[list[Cell]] = [[] for _ in range(max(layers.values(), default=-1) + 1)]
    for name, layer in layers.items():
        rows[layer].append((name, 0))
    chains = []
    lanes = 0
    for name, above in parents.items():
        for parent in dict.fromkeys(above):
            if parent not in layers:
                continue
            chain: list[Cell] = [(parent, 0)]
            between = range(layers[parent] + 1, layers[name])
            for layer in between if lanes + len(between) <= LANES else ():
                lanes += 1
                chain.append((name, lanes))
                rows[layer].append(chain[-1])
            chains.append([*chain, (name, 0)])
    return rows, chains


Near = Mapping[Cell, Sequence[Cell]]


def map_cell_neighbours(chains: Sequence[Sequence[Cell]]) -> tuple[Near, Near]:
    """What stands left and what stands right of each cell."""
    left: dict[Cell, list[Cell]] = defaultdict(list)
    right: dict[Cell, list[Cell]] = defaultdict(list)
    for chain in chains:
        for left_cell, right_cell in pairwise(chain):
            left[right_cell].append(left_cell)
            right[left_cell].append(right_cell)
    return left, right


# -- the order in each layer ----------------------------------------------------------------------------------------
def order_rows(rows: Sequence[list[Cell]], left: Near, right: Near) -> list[list[Cell]]:
    """Each row sorted by the mean place of its neighbours, to the right and back again; the best of what was found."""
    rows = [list(row) for row in rows]
    place = {cell: middle for row in rows for cell, middle in compute_middles(row)}
    best, fewest = [list(row) for row in rows], count_crossings(rows, right)
    for sweep in range(SWEEPS):
        if not fewest:
            break
        near, order = (left, rows) if sweep % 2 == 0 else (right, rows[::-1])
        for row in order:
            means = {
                cell: fmean(place[neighbour] for neighbour in near[cell]) if cell in near else place[cell]
                for cell in row
            }
            row.sort(key=means.__getitem__)
            place |= dict(compute_middles(row))
        crossing_count = count_crossings(rows, right)
        if crossing_count < fewest:
            best, fewest = [list(row) for row in rows], crossing_count
    return best


def count_crossings(rows: Sequence[Sequence[Cell]], right: Near) -> int:
    """How often edges cross between neighbouring layers."""
    place = {cell: at for row in rows for at, cell in enumerate(row)}
    count = 0
    for row in rows:
        endpoints: list[int] = []
        for cell in row:
            ends = sorted(place[neighbour] for neighbour in right.get(cell, ()))
            count += sum(len(endpoints) - bisect_right(endpoints, end) for end in ends)
            for end in ends:
                insort(endpoints, end)
    return count


def compute_middles(row: Sequence[Cell]) -> list[tuple[Cell, float]]:
    """The middle of each cell, measured from the middle of its row, as it would stand without its neighbours."""
    positions, y = [], -compute_row_height(row) / 2
    for cell in row:
        positions.append((cell, y + get_height(cell) / 2))
        y += get_height(cell) + GAP_Y
    return positions


def get_height(cell: Cell) -> int:
    return LANE if cell[1] else HEIGHT


def compute_row_height(row: Sequence[Cell]) -> int:
    return sum(get_height(cell) for cell in row) + GAP_Y * (len(row) - 1)


# -- the places -----------------------------------------------------------------------------------------------------
def compute_tops(rows: Sequence[Sequence[Cell]], left: Near, right: Near) -> dict[Cell, float]:
    """The top of each cell: drawn towards its neighbours, to the right and back again, never onto another."""
    middle = {cell: at for row in rows for cell, at in compute_middles(row)}
    for pull in range(PULLS):
        near, order = (left, rows) if pull % 2 == 0 else (right, rows[::-1])
        for row in order:
            targets = [
                fmean(middle[neighbour] for neighbour in near[cell]) if cell in near else middle[cell] for cell in row
            ]
            middle |= zip(row, fit_positions(row, targets), strict=True)
    return {cell: at - get_height(cell) / 2 for cell, at in middle.items()}


def fit_positions(row: Sequence[Cell], targets: Sequence[float]) -> list[float]:
    """The middles nearest to those wanted, by least squares, that keep the order and the gaps.

    Without the room that the cells before one take, the middles have only to rise: neighbours that do not are pooled
    at their mean, until all do (pool adjacent violators).
    """
    offsets, distance = [0.0], 0.0
    for left, right in pairwise(row):
        distance += (get_height(left) + get_height(right)) / 2 + GAP_Y
        offsets.append(distance)
    pools: list[tuple[float, int]] = []  # (mean, cells)
    for want, offset in zip(targets, offsets, strict=False):
        pools.append((want - offset, 1))
        while len(pools) > 1 and pools[-2][0] > pools[-1][0]:
            (left, few), (right, more) = pools[-2:]
            pools[-2:] = [((left * few + right * more) / (few + more), few + more)]
    levels = [mean for mean, count in pools for _ in range(count)]
    return [level + offset for level, offset in zip(levels, offsets, strict=False)]


def build_svg_path(chain: Sequence[Cell], places: Mapping[Cell, tuple[int, int]]) -> str:
    """From the right side of the first cell to the left side of the last, straight through the lanes between."""
    x, y = places[chain[0]]
    height = y + HEIGHT // 2
    path = f"M{x + WIDTH} {height}"
    for cell in chain[1:]:
        x, y = places[cell]
        bend, before, height = x - GAP_X // 2, height, y + get_height(cell) // 2
        path += f"C{bend} {before} {bend} {height} {x} {height}"
        if cell[1]:
            path += f"H{x + WIDTH}"
    return path
