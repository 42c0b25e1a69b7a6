"""Where the steps of a graph stand and how its edges run, in pixels: layers from left to right. Pure.

After Sugiyama, Tagawa and Toda, Methods for visual understanding of hierarchical system structures (1981): a step
stands one layer right of its last parent; an edge over several layers gets a lane in each layer that it crosses; within
a layer the order follows the mean place of the neighbours, so that few edges cross.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import fmean

WIDTH, HEIGHT = 176, 52  # of a step
GAP_X, GAP_Y = 44, 16
LANE = 12  # height of the place that an edge takes in a layer that it crosses
SWEEPS = 4
EDGES_DRAWN = 300  # nobody can follow more, and each takes a lane in every layer that it crosses
MARGIN = 2  # so that outlines are not cut

Cell = tuple[str, int]
"""A step's name and 0; or the name of an edge's end and the number of its lane, from 1"""


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


def drawn(parents: Mapping[str, Sequence[str]]) -> Drawing | None:
    """`parents`: each step, parents before children, with those that it waits for; what is no key is not drawn.

    None for a graph too dense to be read: a table tells more.
    """
    if sum(len(above) for above in parents.values()) > EDGES_DRAWN:
        return None
    layers = layers_of(parents)
    rows, chains = rows_of(parents, layers)
    ordered(rows, chains)
    tall = max((row_height(row) for row in rows), default=0)
    places: dict[Cell, tuple[int, int]] = {}
    for number, row in enumerate(rows):
        y = MARGIN + (tall - row_height(row)) // 2
        for cell in row:
            places[cell] = (MARGIN + number * (WIDTH + GAP_X), y)
            y += height_of(cell) + GAP_Y
    boxes = [Box(name, *places[name, 0]) for name in parents]
    edges = [(chain[0][0], chain[-1][0], path_of(chain, places)) for chain in chains]
    wide = len(rows) * (WIDTH + GAP_X) - GAP_X if rows else 0
    return Drawing(wide + 2 * MARGIN, tall + 2 * MARGIN, boxes, edges)


def layers_of(parents: Mapping[str, Sequence[str]]) -> dict[str, int]:
    """The layer of each step: the length of the longest way to it."""
    layers: dict[str, int] = {}
    for name, above in parents.items():
        layers[name] = max((layers[parent] + 1 for parent in above if parent in layers), default=0)
    return layers


def rows_of(
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
            for layer in range(layers[parent] + 1, layers[name]):
                lanes += 1
                chain.append((name, lanes))
                rows[layer].append(chain[-1])
            chains.append([*chain, (name, 0)])
    return rows, chains


def ordered(rows: list[list[Cell]], chains: Sequence[Sequence[Cell]]) -> None:
    """Sort each row in place by the mean place of its neighbours, to the right and back again."""
    left: dict[Cell, list[Cell]] = defaultdict(list)
    right: dict[Cell, list[Cell]] = defaultdict(list)
    for chain in chains:
        for one, other in pairwise(chain):
            left[other].append(one)
            right[one].append(other)
    place = {cell: middle for row in rows for cell, middle in middles(row)}
    for sweep in range(SWEEPS):
        near, order = (left, rows) if sweep % 2 == 0 else (right, rows[::-1])
        for row in order:
            means = {cell: fmean(place[other] for other in near[cell]) if near[cell] else place[cell] for cell in row}
            row.sort(key=means.__getitem__)
            place |= dict(middles(row))


def middles(row: Sequence[Cell]) -> list[tuple[Cell, float]]:
    """The middle of each cell, measured from the middle of its row, as it will be drawn."""
    found, y = [], -row_height(row) / 2
    for cell in row:
        found.append((cell, y + height_of(cell) / 2))
        y += height_of(cell) + GAP_Y
    return found


def height_of(cell: Cell) -> int:
    return LANE if cell[1] else HEIGHT


def row_height(row: Sequence[Cell]) -> int:
    return sum(height_of(cell) for cell in row) + GAP_Y * (len(row) - 1)


def path_of(chain: Sequence[Cell], places: Mapping[Cell, tuple[int, int]]) -> str:
    """From the right side of the first cell to the left side of the last, straight through the lanes between."""
    x, y = places[chain[0]]
    height = y + HEIGHT // 2
    path = f"M{x + WIDTH} {height}"
    for cell in chain[1:]:
        x, y = places[cell]
        bend, before, height = x - GAP_X // 2, height, y + height_of(cell) // 2
        path += f"C{bend} {before} {bend} {height} {x} {height}"
        if cell[1]:
            path += f"H{x + WIDTH}"
    return path
