"""Polls that come at the same moment share a query."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import pytest
from django.db import OperationalError

from apps.fleet.devices import lookups

PATIENCE = 20
KNOWN = {"a": 1, "b": 2, "c": 3}


class Database:
    """Answers look-ups by KNOWN. The first query waits until `release` is set, or fails afterwards if it is to."""

    def __init__(self) -> None:
        self.queries, self.begun, self.release, self.fails = [], threading.Event(), threading.Event(), set()

    def fetch(self, sql, params):
        number = len(self.queries)
        asked = params[0] if isinstance(params[0], list) else [params[0]]
        self.queries.append(sorted(asked))
        if not number:
            self.begun.set()
            assert self.release.wait(PATIENCE)
        if number in self.fails:
            raise OperationalError("away")
        return [(digest, KNOWN[digest], "active", 7, None) for digest in asked if digest in KNOWN]


@pytest.fixture
def database(monkeypatch):
    made = Database()
    monkeypatch.setattr(lookups, "connection", SimpleNamespace(vendor="postgresql"))
    monkeypatch.setattr(lookups, "fetch", made.fetch)
    return made


@pytest.fixture
def pool():
    with ThreadPoolExecutor(8) as made:
        yield made


def wait_until_collected(shared, count):
    """Until so many tokens are in the batch that is not asked yet."""
    for _ in range(PATIENCE * 1000):
        if len(shared.collecting.digests) == count:
            return
        threading.Event().wait(0.001)
    raise AssertionError(shared.collecting.digests)


def start_two_turns(database, pool, shared):
    """One query under way, and three tokens that wait for the next."""
    first = pool.submit(shared.find, "a")
    assert database.begun.wait(PATIENCE)
    leader = pool.submit(shared.find, "b")
    wait_until_collected(shared, 1)
    others = [pool.submit(shared.find, digest) for digest in ("c", "unknown")]
    wait_until_collected(shared, 3)
    database.release.set()
    return first, leader, others


def test_what_comes_during_a_query_shares_the_next(database, pool):
    first, leader, others = start_two_turns(database, pool, lookups.SharedLookup())
    found = [one.result(PATIENCE) for one in (first, leader, *others)]
    assert [one and one.device_id for one in found] == [1, 2, 3, None]
    assert database.queries == [["a"], ["b", "c", "unknown"]]


def test_where_a_shared_query_fails_the_others_ask_by_themselves(database, pool):
    database.fails = {1}
    _first, leader, others = start_two_turns(database, pool, lookups.SharedLookup())
    with pytest.raises(OperationalError):
        leader.result(PATIENCE)
    assert [one.result(PATIENCE) and one.result().device_id for one in others] == [3, None]
    assert sorted(database.queries[2:]) == [["c"], ["unknown"]]


def test_whoever_is_not_told_in_time_asks_by_itself(database, pool, monkeypatch):
    monkeypatch.setattr(lookups, "PATIENCE_SECONDS", 0.01)
    shared = lookups.SharedLookup()
    first = pool.submit(shared.find, "a")
    assert database.begun.wait(PATIENCE)
    leader = pool.submit(shared.find, "b")
    wait_until_collected(shared, 1)
    assert shared.find("c").device_id == 3
    database.release.set()
    assert (first.result(PATIENCE).device_id, leader.result(PATIENCE).device_id) == (1, 2)
