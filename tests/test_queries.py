"""Query counts of every page and endpoint do not grow with the number of rows."""

from __future__ import annotations

import pytest
from django.db import connection
from django.db.models.functions import Now

from apps.platform.accounts import middleware
from apps.platform.artifacts import views as garbage_views
from apps.platform.nodes.models import Node
from tests import walking

pytestmark = pytest.mark.services

FEW = 6  # a log of more than four events is read in two parts, however long it is
MANY = 14
MORE = 22
LIMIT = 20  # queries of one page, at most


class QueryCounter:
    """An execute wrapper: it costs less than CaptureQueriesContext, which on SQLite quotes parameters by a query."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self, execute, sql, params, many, context):
        self.count += 1
        return execute(sql, params, many, context)


def count_queries(visitor: walking.Visitor, where: str) -> tuple[int, int]:
    """(queries, status) of one GET."""
    Node.objects.update(heartbeat_at=Now())  # a walk may last longer than until a silent node is offline
    counter = QueryCounter()
    with connection.execute_wrapper(counter):
        status, _ = visitor.get(where)
    return counter.count, status


def get_part(route: str) -> str:
    """Which of the tests below walks it: one alone would take too long."""
    if not route.startswith("p/"):
        return "endpoints" if route.startswith("api/") else "plane"
    return "project, a to l" if route.removeprefix("p/<slug:project>/") < "m" else "project, m to z"


def walk_as_anybody(plane, people, part) -> tuple[dict[str, int], dict[str, walking.Visitor], dict[str, int]]:
    """Queries and the first visitor of every route that answers, and the last status of those that answer nobody."""
    counts, visitor_of, unanswered = {}, {}, {}
    for route in walking.routes(of_gets=True):
        if walking.left_out(route) or get_part(route) != part:
            continue
        for visitor in people:
            count, status = count_queries(visitor, walking.address(route, plane))
            if status in (200, 302):
                counts[route], visitor_of[route] = count, visitor
                break
            if status == 405:
                break
        else:
            unanswered[route] = status
    return counts, visitor_of, unanswered


def walk(plane, visitor_of) -> dict[str, int]:
    return {route: count_queries(visitor, walking.address(route, plane))[0] for route, visitor in visitor_of.items()}


@pytest.mark.parametrize("part", ["project, a to l", "project, m to z", "plane", "endpoints"])
def test_query_counts_do_not_grow_with_rows(db, settings, monkeypatch, part):
    """Every GET route is walked at two sizes, and answers somebody: a 404 would pass for a page without queries.

    A count may differ because a page's first request loads what is loaded once. Only those routes are asked again, at
    MANY and at a third size.
    """
    monkeypatch.setattr(middleware, "RENEW_SECONDS", 10**9)  # a walk may last longer than until a session is renewed
    monkeypatch.setattr(garbage_views, "QUICK_SECONDS", 60)  # a look ends by the clock: on a busy machine it asks less
    plane = walking.first_rows()
    walking.grow(plane, FEW, wide=FEW)
    few, visitor_of, unanswered = walk_as_anybody(plane, walking.visitors(), part)
    walking.grow(plane, MANY, wide=MANY)
    many = walk(plane, visitor_of)
    different = {route: visitor_of[route] for route in few if few[route] != many[route]}
    many_again = walk(plane, different)
    walking.grow(plane, MORE, wide=MORE)
    walk(plane, different)  # loads what is loaded anew after a change
    more = walk(plane, different)
    growing = {route: (few[route], many[route], more[route]) for route in more if more[route] != many_again[route]}
    expensive = {route: count for route, count in many.items() if count > LIMIT}
    assert (unanswered, growing, expensive) == ({}, {}, {})
