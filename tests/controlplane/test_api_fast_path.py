"""The way past Django's middleware: what an answer must still have."""

from __future__ import annotations

import io

import pytest
from django.core.signals import request_finished, request_started
from django.db import close_old_connections
from django.http import HttpResponse
from django.test import RequestFactory

from controlplane.wsgi import application


def call(path: str, method: str = "GET", body: bytes = b"", **environ):
    """(status line, headers, body) of the WSGI application."""
    asked = RequestFactory().generic(method, path, body, content_type="application/json").environ | environ
    asked["wsgi.input"] = io.BytesIO(body)
    told = {}

    def start(status, headers, exc_info=None):
        told.update(status=status, headers=dict(headers))

    answer = application(asked, start)
    data = b"".join(answer)
    return told["status"], told["headers"], data


@pytest.fixture(autouse=True)
def _connection_stays(monkeypatch):
    """As Django's test client does: the end of a request closes the connection that holds the test's transaction."""
    monkeypatch.setattr("controlplane.api_fast_path.close_old_connections", lambda: None)
    for signal in (request_started, request_finished):
        signal.disconnect(close_old_connections)
    yield
    for signal in (request_started, request_finished):
        signal.connect(close_old_connections)


def test_a_probe():
    status, headers, data = call("/health", HTTP_X_REQUEST_ID="request-77")
    assert (status, data) == ("200 OK", b"OK")
    assert headers["X-Request-ID"] == "request-77"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Cache-Control"] == "no-store"
    assert headers["Content-Length"] == "2"
    assert "Set-Cookie" not in headers


def test_a_call_with_a_token(make_token, engineer):
    secret, _token = make_token(engineer)
    status, _headers, data = call(
        "/api/2.0/mlflow/experiments/create", "POST", b'{"name":"a"}', HTTP_AUTHORIZATION=f"Bearer {secret}"
    )
    assert (status, data) == ("200 OK", b'{"experiment_id":"1"}')


def test_without_one(db):
    status, headers, _data = call("/api/2.0/mlflow/experiments/get")
    assert status == "401 Unauthorized"
    assert headers["WWW-Authenticate"]


def test_a_host_that_is_not_served(settings):
    settings.ALLOWED_HOSTS = ["plane.example"]
    status, _headers, data = call("/health", HTTP_HOST="evil.example")
    assert status == "400 Bad Request"
    assert b"evil" not in data


def test_behind_tls_nothing_is_answered_in_the_clear(settings):
    settings.SECURE_SSL_REDIRECT, settings.SECURE_HSTS_SECONDS = True, 60
    status, headers, _data = call("/version")
    assert status == "403 Forbidden"
    assert headers["Strict-Transport-Security"] == "max-age=60"


def test_it_is_counted():
    from controlplane.request_metrics import get_counters

    told = get_counters().requests.labels("mlflow", "GET", "2xx")
    before = told._value.get()
    call("/health")
    assert told._value.get() == before + 1


def test_other_addresses_go_to_django():
    assert call("/healthz")[0] == "200 OK"
    assert b"ENDPOINT_NOT_FOUND" not in call("/api/v9/nothing")[2]


def test_the_head_of_a_file_tells_its_length_once(monkeypatch):
    monkeypatch.setattr(
        "controlplane.api_fast_path.build_response", lambda _: HttpResponse(headers={"Content-Length": "11"})
    )
    told = []
    asked = RequestFactory().head("/health").environ
    application(asked, lambda _status, headers, exc_info=None: told.extend(headers))
    assert [value for name, value in told if name == "Content-Length"] == ["11"]
