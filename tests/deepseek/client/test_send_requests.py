"""What every request does: the token goes to the plane alone, and errors are in the plane's words."""

from __future__ import annotations

import json

import pytest

from deepseek.client import ClientError, PlaneRefusal, PlaneUnreachable
from tests.deepseek.client.conftest import TOKEN


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_redirect_is_not_followed(serve, connect, status):
    other = serve(lambda request: request.answer(200, b"{}"))
    server = serve(lambda request: request.answer(status, b"", Location=f"{other.url}/api"))
    with pytest.raises(ClientError, match=f"sends requests on to {other.url}/api") as caught:
        connect(server).call("GET", "/api")
    assert (caught.value.code, other.requests) == ("redirected", [])
    assert server.requests[0][2]["Authorization"] == f"Bearer {TOKEN}"


def test_proxy_of_the_environment_is_used_only_if_asked(serve, connect, monkeypatch):
    proxy = serve(lambda request: request.answer(200, b'"proxy"'))
    server = serve(lambda request: request.answer(200, b'"plane"'))
    monkeypatch.setenv("HTTP_PROXY", proxy.url)
    monkeypatch.delenv("NO_PROXY", raising=False)
    assert connect(server).call("GET", "/api") == "plane"
    assert connect(server, trust_env=True).call("GET", "/api") == "proxy"


def test_refusal_keeps_code_field_limit_and_hint(serve, connect):
    error = {"code": "limit", "message": "Too {many}.", "field": "/x", "limit": [1, 2], "hint": "Take fewer."}
    server = serve(lambda request: request.answer(422, json.dumps({"error": error}).encode()))
    with pytest.raises(PlaneRefusal) as caught:
        connect(server).call("POST", "/api", {})
    refusal = caught.value
    assert (refusal.status, refusal.code, refusal.message) == (422, "limit", "Too {many}.")
    assert (refusal.field, refusal.limit, refusal.hint) == ("/x", "[1, 2]", "Take fewer.")


@pytest.mark.parametrize(
    ("status", "body"), [(404, b"<html>"), (200, b"<html>"), (418, b'{"error": 3}'), (400, b"[]"), (403, b"\xff")]
)
def test_what_is_no_plane(serve, connect, status, body):
    server = serve(lambda request: request.answer(status, body))
    with pytest.raises(ClientError, match="does not answer as a plane does") as caught:
        connect(server).call("GET", "/api")
    assert caught.value.exit_code == 2


def answer_third(status):
    """Away twice, then there."""
    return lambda request: request.answer(*((200, b"3") if len(request.server.requests) > 2 else (status, b"")))


@pytest.mark.parametrize("status", [429, 502, 503, 504])
def test_patience_outlasts_a_restart(serve, connect, status):
    server = serve(answer_third(status))
    assert connect(server, patience=10).call("GET", "/api") == 3


def test_without_patience_it_fails_at_once(serve, connect):
    server = serve(answer_third(503))
    with pytest.raises(PlaneUnreachable) as caught:
        connect(server).call("GET", "/api")
    assert (caught.value.exit_code, len(server.requests)) == (1, 1)


def test_what_could_be_done_twice_is_not_repeated(serve, connect):
    server = serve(answer_third(503))
    with pytest.raises(PlaneUnreachable):
        connect(server, patience=10).call("POST", "/api", {})
    assert len(server.requests) == 1
    assert connect(server, patience=10).call("POST", "/api", {}, headers={"Idempotency-Key": "1"}) == 3


def test_query_of_a_path_is_kept(serve, connect):
    server = serve(lambda request: request.answer(200, b"1"))
    connect(server).call("GET", "/api?a=1")
    connect(server).call("GET", "/api", a="x y", b=None, c="")
    assert [path for _method, path, _headers in server.requests] == ["/api?a=1", "/api?a=x+y"]


def test_bad_authority_file(connect, serve, tmp_path):
    server = serve(lambda request: None)
    (tmp_path / "ca.pem").write_text("no certificate")
    for path in ("ca.pem", "absent.pem"):
        with pytest.raises(ClientError) as caught:
            connect(server, ca=str(tmp_path / path))
        assert (caught.value.code, caught.value.field) == ("bad_ca", "--ca")
