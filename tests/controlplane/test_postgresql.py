"""When a pooled connection is looked at before it is lent."""

from __future__ import annotations

import pytest
from psycopg import OperationalError

from controlplane.postgresql import base

pytestmark = pytest.mark.services


class Lent:
    """Stands for a connection: only its age is asked."""


@pytest.fixture
def checks(monkeypatch):
    seen = []
    monkeypatch.setattr(base.ConnectionPool, "check_connection", staticmethod(seen.append))
    return seen


@pytest.fixture
def clock(monkeypatch):
    now = [1000.0]
    monkeypatch.setattr(base.time, "monotonic", lambda: now[0])
    return now


def test_one_that_worked_just_now_is_trusted(checks, clock):
    lent = Lent()
    for _ in range(3):
        base.check_rested(lent)
    assert checks == [lent]


def test_one_that_rested_is_asked_again(checks, clock):
    lent = Lent()
    base.check_rested(lent)
    clock[0] += base.TRUSTED_SECONDS
    base.check_rested(lent)
    assert checks == [lent, lent]


def test_a_broken_one_is_not_lent_and_not_trusted(monkeypatch, clock):
    def broken(connection):
        raise OperationalError("the connection is closed")

    lent = Lent()
    monkeypatch.setattr(base.ConnectionPool, "check_connection", staticmethod(broken))
    for _ in range(2):
        with pytest.raises(OperationalError):
            base.check_rested(lent)
