"""A wrong Host header costs a plain 400 and one line in the log."""

from __future__ import annotations

import logging

import pytest
from django.test import Client

ADDRESSES = ("/", "/accounts/login/", "/api/v1/me", "/healthz", "/readyz", "/metrics", "/git/x", "/p/demo/jobs")


@pytest.mark.django_db
def test_an_unknown_host_is_refused_in_one_line(caplog, django_assert_num_queries):
    client = Client()
    wrong = {}
    with django_assert_num_queries(0):
        for address in ADDRESSES:
            for host in ("evil.example", "bad host..", "[::1", "x:99999999", "", "a" * 300 + "\n"):
                for accept in ("text/html", "application/json"):
                    caplog.clear()
                    answer = client.get(address, headers={"host": host, "accept": accept})
                    lines = [record for record in caplog.records if record.levelno >= logging.WARNING]
                    if (answer.status_code, len(lines), any(line.exc_info for line in lines)) != (400, 1, False):
                        wrong[address, host, accept] = (answer.status_code, [line.message for line in lines])
    assert wrong == {}


def test_the_answer_has_the_shape_of_every_error():
    error = Client().get("/api/v1/me", headers={"host": "evil.example"}).json()["error"]
    assert (error["code"], error["field"]) == ("unknown_host", "Host")
    page = Client().get("/", headers={"host": "evil.example", "accept": "text/html"})
    assert page.headers["Content-Type"].startswith("text/html")
    assert b"ALLOWED_HOSTS" in page.content
