"""A web request ends with 503 when the database has worked for it for REQUEST_SECONDS; nothing else is cut."""

from __future__ import annotations

import time

import pytest
from django.contrib.auth.decorators import login_not_required
from django.db import OperationalError, connection, connections, transaction
from django.test import RequestFactory
from django.urls import path

from apps.platform.audit.faults import translate_fault
from controlplane import request_timeout
from controlplane.wsgi import application

pytestmark = [pytest.mark.django_db, pytest.mark.services]
LONG = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < %s) SELECT max(i) FROM n"
ENDLESS, SHORT = 10**12, 1000


def count_to(number: int) -> int:
    with connection.cursor() as cursor:
        cursor.execute(LONG, [number])
        return cursor.fetchone()[0]


@login_not_required
def endless(_request):
    with transaction.atomic():
        if connection.vendor == "postgresql":  # as limit_statements has every connection of a web process
            connection.cursor().execute("SET LOCAL statement_timeout = 1000")
        count_to(ENDLESS)


urlpatterns = [path("api/v1/endless", endless)]


@pytest.mark.timeout(20, func_only=True)
def test_a_long_statement_ends_and_the_next_one_runs():
    if connection.vendor != "sqlite":
        pytest.skip("PostgreSQL ends it by itself")
    with request_timeout.limit_time(0.05), pytest.raises(OperationalError) as raised:
        count_to(ENDLESS)
    fault = translate_fault(raised.value)
    assert (fault.status, fault.code, fault.limit) == (503, "query_too_slow", "30 s")
    assert count_to(SHORT) == SHORT


def test_patterns_that_sqlite_asks_python_for_end_too():
    if connection.vendor != "sqlite":
        pytest.skip("PostgreSQL has its own")
    with connection.cursor() as cursor:
        cursor.execute("SELECT 'abc' REGEXP 'b', NULL REGEXP 'b', 'abc' REGEXP '^b'")
        assert cursor.fetchone() == (1, None, 0)
        with request_timeout.limit_time(-1), pytest.raises(OperationalError, match="interrupted"):
            cursor.execute("WITH n(i) AS (VALUES ('a'), ('b'), ('c')) SELECT count(*) FROM n WHERE i REGEXP %s", ["é"])


def test_nothing_is_counted_outside_of_a_request(monkeypatch):
    monkeypatch.setattr(request_timeout, "STEP_SECONDS", 10**6)
    with request_timeout.limit_time(0):
        assert request_timeout.is_spent()
    assert not request_timeout.is_spent()


def test_a_wait_for_the_client_is_no_work_of_the_database(monkeypatch):
    now = [1000.0]
    monkeypatch.setattr(request_timeout.time, "monotonic", lambda: now[0])
    with request_timeout.limit_time(30):
        for _ in range(100):
            now[0] += 60
            assert not request_timeout.is_spent()


@pytest.mark.timeout(20, func_only=True)
@pytest.mark.usefixtures("transactional_db")
def test_the_answer_is_503_with_a_remedy(settings):
    settings.ROOT_URLCONF, settings.REQUEST_SECONDS = __name__, 1.0
    told = {}
    began = time.monotonic()
    environ = RequestFactory().get("/api/v1/endless").environ | {"HTTP_HOST": "localhost"}
    body = b"".join(application(environ, lambda status, headers: told.update(status=status, headers=dict(headers))))
    assert (told["status"][:3], told["headers"]["Retry-After"]) == ("503", "5")
    assert b"query_too_slow" in body
    assert b"narrower filter" in body
    assert time.monotonic() - began < 15


def test_postgresql_is_told_the_limit(settings, monkeypatch):
    settings.REQUEST_SECONDS = 7.5
    options = {"options": "-c jit=off"}
    monkeypatch.setitem(connections.settings["default"], "OPTIONS", options)
    monkeypatch.setattr(type(connections["default"]), "vendor", "postgresql")
    request_timeout.limit_statements()
    assert options["options"] == "-c jit=off -c statement_timeout=7500"
