"""From node to node over the edges, by the database: one query, and no more of a hub than can be shown."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple

from django.db import connection

from apps.platform.accounts.models import Project
from apps.platform.lineage.models import Edge

Key = tuple[str, str]
UP, DOWN = "up", "down"
SIDES = {UP: ("target", "source"), DOWN: ("source", "target")}  # which end is near the root, which is farther


class Way(NamedTuple):
    """An edge that the walk has met: which way it went, how far from the root, and the edge's ends."""

    edge: int
    side: str
    level: int
    near_type: str
    near_id: str
    far_type: str
    far_id: str


# A node is met once for each length of a way to it. Of each the walk reads no more than `fan` edges, the first
# recorded, and it ends when so many are read: what a hub has beyond costs nothing. It reads two indexes and no row.
FIRST_SQLITE = """SELECT {what} FROM {table} WHERE project_id = %s AND {near}_type = {side}.type
            AND {near}_id = {side}.id ORDER BY id LIMIT %s"""
# Asked for an equal id in the order of the key, PostgreSQL may walk the primary key and read every edge for each node.
# It drops the end's id from an order where that is one value, but not where it is a range of one.
FIRST_POSTGRESQL = """SELECT {what} FROM {table} WHERE project_id = %s AND {near}_type = n.type
            AND {near}_id >= n.id AND {near}_id <= n.id ORDER BY {near}_id, id LIMIT %s"""
POSTGRESQL = (
    """
    {side}(edge, level, near_type, near_id, type, id) AS (
        SELECT CAST(NULL AS bigint), 0, CAST(%s AS varchar(40)), CAST(%s AS varchar(80)),
               CAST(%s AS varchar(40)), CAST(%s AS varchar(80))
        UNION ALL
        SELECT e.id, n.level + 1, n.type, n.id, e.{far}_type, e.{far}_id
        FROM (SELECT DISTINCT type, id, level FROM {side} WHERE level < %s) AS n CROSS JOIN LATERAL ({first}) AS e
    )""",
    """
    SELECT * FROM (
        SELECT edge, '{side}', level, near_type, near_id, type, id FROM {side} WHERE edge IS NOT NULL LIMIT %s
    ) AS taken_{side}""",
)
# SQLite has no LATERAL, and seeks the rows that a subquery names by their keys instead; nor may a recursion look at a
# whole level, so the nodes are walked first and their edges taken after. CROSS JOIN keeps it to this order: by itself
# it reads every edge of the project for each node that it has found.
SQLITE = (
    """
    {side}(type, id, level) AS (
        SELECT %s, %s, 0
        UNION
        SELECT e.{far}_type, e.{far}_id, {side}.level + 1
        FROM {side} CROSS JOIN {table} e WHERE e.id IN ({first}) AND {side}.level < %s
    )""",
    """
    SELECT * FROM (
        SELECT e.id, '{side}', {side}.level + 1, e.{near}_type, e.{near}_id, e.{far}_type, e.{far}_id
        FROM {side} CROSS JOIN {table} e WHERE e.id IN ({first}) AND {side}.level < %s LIMIT %s
    ) AS taken_{side}""",
)


def walk_edges(project: Project, root: Key, direction: str, depth: int, fan: int, most: int) -> list[Way]:
    """What the walk meets, breadth first: `fan` edges of a node and `most` in each direction, and one more of both."""
    sides = [UP, DOWN] if direction == "both" else [direction]
    walk, take = POSTGRESQL if connection.vendor == "postgresql" else SQLITE
    walks, takes = ([format_statement(template, side) for side in sides] for template in (walk, take))
    values: list[str | int] = []
    if connection.vendor == "postgresql":
        for _side in sides:
            values += (*root, *root, depth, project.pk, fan + 1)
        values += (most + 1 for _side in sides)
    else:
        for _side in sides:
            values += (*root, project.pk, fan + 1, depth)
        for _side in sides:
            values += (project.pk, fan + 1, depth, most + 1)
    with connection.cursor() as cursor:
        cursor.execute(f"WITH RECURSIVE {','.join(walks)} {' UNION ALL '.join(takes)}", values)
        rows = cursor.fetchall()
    return sorted((Way._make(row) for row in rows), key=lambda way: way.level)


def format_statement(template: str, side: str) -> str:
    """A part of the walk for one side, in the words of the database."""
    near, far = SIDES[side]
    table, postgresql = connection.ops.quote_name(Edge._meta.db_table), connection.vendor == "postgresql"
    what = f"id, {far}_type, {far}_id" if postgresql else "id"
    first = (FIRST_POSTGRESQL if postgresql else FIRST_SQLITE).format(what=what, table=table, near=near, side=side)
    return template.format(side=side, near=near, far=far, table=table, first=first)


def is_side_cut(ways: Iterable[Way], most: int) -> bool:
    """Whether a side has more edges than were read."""
    return any(count > most for count in Counter(way.side for way in ways).values())


def is_walk_cut(ways: list[Way], fan: int, most: int) -> bool:
    """Whether there is more than was read: of a side, or of a node."""
    nodes = Counter((way.side, way.level, way.near_type, way.near_id) for way in ways)
    return is_side_cut(ways, most) or any(count > fan for count in nodes.values())
