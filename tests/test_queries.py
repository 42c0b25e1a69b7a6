"""No page and no endpoint asks the database more often because there is more in it."""

from __future__ import annotations

import pytest
from django.db import connection
from django.db.models.functions import Now
from django.test.utils import CaptureQueriesContext

from apps.accounts import middleware
from apps.artifacts import views as garbage_views
from apps.nodes.models import Node
from tests import walking

FEW, MANY = 6, 30  # six: a log of more than four events is read in two parts, however long it is
LIMIT = 20  # queries of one page


def counted(plane, people) -> dict[str, int]:
    """Address -> queries, once each page's first request has loaded what is loaded once."""
    found = {}
    for route in walking.routes():
        where = walking.address(route, plane) if not walking.left_out(route) else ""
        visitor = walking.who_may(where, people)[0] if where else None
        if visitor:
            Node.objects.update(heartbeat_at=Now())  # a walk may last longer than until a silent node is offline
            with CaptureQueriesContext(connection) as seen:
                visitor.get(where)
            found[route] = len(seen)
    return found


@pytest.fixture
def costs(db, settings, tmp_path, monkeypatch):
    """(queries with few rows, queries with many) of every address that answers a GET with 200."""
    monkeypatch.setattr(middleware, "RENEW_SECONDS", 10**9)  # a walk may last longer than until a session is renewed
    monkeypatch.setattr(garbage_views, "QUICK_SECONDS", 60)  # a look ends by the clock: on a busy machine it asks less
    plane = walking.first_rows()
    walking.grow(plane, FEW, wide=FEW)
    people = walking.visitors()
    few = counted(plane, people)
    walking.grow(plane, MANY, wide=MANY)
    return few, counted(plane, people)


def test_many_rows_cost_no_more_queries_than_few(costs):
    few, many = costs
    assert {route: (few[route], many.get(route)) for route in few if few[route] != many.get(route)} == {}
    assert {route: count for route, count in many.items() if count >= LIMIT} == {}


def test_every_address_is_walked_or_left_out_for_a_reason(db):
    """A page that answers 404 or 500 to the names of this walk would pass for one without queries."""
    plane = walking.first_rows()
    walking.grow(plane, FEW, wide=FEW)
    people = walking.visitors()
    silent = {}
    for route in walking.routes():
        if not walking.left_out(route):
            visitor, status = walking.who_may(walking.address(route, plane), people)
            if visitor is None and status != 405:
                silent[route] = status
    assert silent == {}
