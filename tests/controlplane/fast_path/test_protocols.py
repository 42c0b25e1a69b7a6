"""The way past Django's middleware: what an answer must still have."""

from __future__ import annotations

import io
import json

import pytest
from django.core.signals import request_finished, request_started
from django.db import close_old_connections
from django.http import HttpResponse
from django.test import RequestFactory

from apps.core.canonical import sha256_hex
from apps.fleet.devices.models import Device
from apps.fleet.devices.services import telemetry
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
    monkeypatch.setattr("controlplane.fast_path.protocols.close_old_connections", lambda: None)
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
        "controlplane.fast_path.protocols.build_response", lambda *_: HttpResponse(headers={"Content-Length": "11"})
    )
    told = []
    asked = RequestFactory().head("/health").environ
    application(asked, lambda _status, headers, exc_info=None: told.extend(headers))
    assert [value for name, value in told if name == "Content-Length"] == ["11"]


def test_a_poll_of_a_device(project):
    secret = "dsd_" + "a" * 43
    Device.objects.create(project=project, name="press-1", token_digest=sha256_hex(secret))
    about = {"HTTP_AUTHORIZATION": f"Bearer {secret}"}
    status, headers, data = call("/api/v1/agent/poll", **about)
    assert (status, json.loads(data)["state"]) == ("200 OK", "active")
    assert headers["Cache-Control"] == "no-cache"
    status, again, data = call("/api/v1/agent/poll", HTTP_IF_NONE_MATCH=headers["ETag"], **about)
    assert (status, data, again["ETag"]) == ("304 Not Modified", b"", headers["ETag"])
    assert "Content-Length" not in again


def test_a_poll_is_answered_as_the_view_does(project, client, django_assert_num_queries, monkeypatch):
    monkeypatch.setattr(telemetry, "FLUSH_SECONDS", 1e9)  # no batch is written during the test
    secrets = {state: f"dsd_{state[0] * 43}" for state in ("active", "quarantined", "revoked")}
    for state, secret in secrets.items():
        Device.objects.create(project=project, name=state, state=state, token_digest=sha256_hex(secret))
    etag = call("/api/v1/agent/poll", HTTP_AUTHORIZATION=f"Bearer {secrets['active']}")[1]["ETag"]
    for secret, known in [(one, "") for one in (*secrets.values(), "dsd_" + "x" * 43, "?")] + [
        (secrets["active"], etag)
    ]:
        about = {"HTTP_AUTHORIZATION": f"Bearer {secret}", "HTTP_IF_NONE_MATCH": known}
        status, headers, data = call("/api/v1/agent/poll", **about)
        seen = client.get("/api/v1/agent/poll", **about)
        assert (int(status.split()[0]), headers.get("ETag")) == (seen.status_code, seen.headers.get("ETag")), secret
        assert headers.get("WWW-Authenticate") == seen.headers.get("WWW-Authenticate"), secret
        assert (json.loads(data) if data else None) == (seen.json() if seen.content else None), secret
    with django_assert_num_queries(1):
        call("/api/v1/agent/poll", HTTP_AUTHORIZATION=f"Bearer {secrets['active']}", HTTP_IF_NONE_MATCH=etag)


def test_polls_that_are_refused(db, settings, monkeypatch):
    def code_of(**environ):
        status, _headers, data = call("/api/v1/agent/poll", **environ)
        return status.split()[0], json.loads(data)["error"]["code"]

    assert code_of() == ("401", "device_unknown")
    for method in ("POST", "PUT", "DELETE"):
        assert code_of(method=method) == ("405", "method_not_allowed")
    status, headers, _data = call("/api/v1/agent/poll", method="HEAD")
    assert (status.split()[0], headers["Content-Type"]) == ("405", "application/json")
    settings.SECURE_SSL_REDIRECT = True
    assert code_of() == ("403", "refused")
    settings.SECURE_SSL_REDIRECT, settings.ALLOWED_HOSTS = False, ["plane.example"]
    assert code_of(HTTP_HOST="evil.example") == ("400", "malformed")
    settings.ALLOWED_HOSTS = ["*"]
    monkeypatch.setattr("controlplane.fast_path.device_polls.answer_poll", lambda *args, **more: 1 / 0)
    assert code_of() == ("500", "server_error")


def test_a_stock_client_polls(project, settings):
    secret = "dsd_" + "b" * 43
    Device.objects.create(project=project, name="pump-7", kind="hawkbit", token_digest=sha256_hex(secret))
    path, about = "/DEFAULT/controller/v1/pump-7", {"HTTP_AUTHORIZATION": f"TargetToken {secret}"}
    status, headers, data = call(path, **about)
    assert (status, set(json.loads(data)["_links"])) == ("200 OK", {"configData"})
    assert (headers["Cache-Control"], headers["Content-Type"]) == ("no-store", "application/json")
    assert "Set-Cookie" not in headers
    assert call(f"{path}/configData", "PUT", b'{"data": {"a": "b"}}', **about)[0] == "200 OK"
    assert call(path)[0] == "401 Unauthorized"
    settings.SECURE_SSL_REDIRECT = True
    assert call(path, **about)[0] == "403 Forbidden"
    settings.SECURE_SSL_REDIRECT, settings.ALLOWED_HOSTS = False, ["plane.example"]
    assert call(path, HTTP_HOST="evil.example", **about)[0] == "400 Bad Request"
