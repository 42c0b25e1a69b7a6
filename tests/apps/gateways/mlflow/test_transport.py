"""What every call shares: who asks, what is read of it, and how it is refused."""

from __future__ import annotations

import json
from base64 import b64encode

import pytest
from django.db import OperationalError
from django.test import Client
from django.utils import timezone

from apps.core.policy import PROJECT_ACTIONS
from apps.gateways.mlflow import dispatcher, request, routes
from apps.gateways.mlflow.routes import INPUTS_BYTES, Route
from apps.platform.accounts.models import ApiToken, Membership
from apps.platform.audit.models import AuditRecord

CREATE = "experiments/create"


def test_every_call_names_an_action_of_the_policy():
    named = {call.action for call in routes.ROUTES.values()} | {call.action for _, _, call in routes.PATTERNS}
    assert named <= set(PROJECT_ACTIONS)
    assert {path for (_, path), call in routes.ROUTES_BY_ADDRESS.items() if call.action is None} == {
        "api/3.0/mlflow/server-info",
        "version",
        "health",
    }


def test_probes_need_no_token():
    client = Client()
    assert client.get("/health").content == b"OK"
    assert client.get("/version").content == b"3.17.2"
    assert client.get("/api/3.0/mlflow/server-info").json()["workspaces_enabled"] is False


def test_a_head_is_answered_as_its_get(track, experiment_id):
    for path in ("/health", "/version", "/api/3.0/mlflow/server-info"):
        assert Client().head(path).status_code == 200, path
    assert track.client.head("/api/2.0/mlflow/experiments/get?experiment_id=1", **track.headers).status_code == 200
    assert track.client.head("/api/2.0/mlflow/experiments/create", **track.headers).status_code == 405


@pytest.mark.django_db
@pytest.mark.parametrize("header", ["", "Bearer", "Bearer dso_nonsense", "Basic %%%", "Digest x", "Bearer \xe9"])
def test_without_a_good_token(header):
    response = Client().get("/api/2.0/mlflow/experiments/get", HTTP_AUTHORIZATION=header)
    assert (response.status_code, response.json()["error_code"]) == (401, "UNAUTHENTICATED")
    assert response.headers["WWW-Authenticate"]


def test_basic_credentials_carry_the_token_as_password(make_token, engineer):
    secret, _token = make_token(engineer)
    basic = b64encode(f"anybody:{secret}".encode()).decode()
    response = Client().get("/api/2.0/mlflow/experiments/get?experiment_id=0", HTTP_AUTHORIZATION=f"Basic {basic}")
    assert response.status_code == 200


@pytest.mark.parametrize(
    ("column", "words"), [("revoked_at", "is revoked"), ("expires_at", "has expired")], ids=["revoked", "expired"]
)
def test_a_token_that_is_void_is_refused_at_once_and_recorded(make_token, client_of, engineer, track, column, words):
    track.get("experiments/get", experiment_id="0")
    ApiToken.objects.update(**{column: timezone.now()}, last_used_at=None)
    status, code, text = track.refused("GET", "experiments/get", {"experiment_id": "0"})
    assert (status, code) == (401, "UNAUTHENTICATED")
    assert words in text
    assert AuditRecord.objects.filter(action="token.use").count() == 1


def test_a_person_who_is_disabled_is_nobody(track, engineer):
    engineer.is_active = False
    engineer.save()
    assert track.refused("GET", "experiments/get", {"experiment_id": "0"})[:2] == (401, "UNAUTHENTICATED")


def test_a_role_that_was_taken_away_is_gone_at_once(track, engineer):
    track.post(CREATE, name="a")
    Membership.objects.filter(user=engineer).delete()
    assert track.refused("POST", CREATE, {"name": "b"})[:2] == (404, "RESOURCE_DOES_NOT_EXIST")


def test_the_use_of_a_token_is_noted_once_a_minute(track, experiment_id, django_assert_num_queries):
    token = ApiToken.objects.get()
    assert token.last_used_at is not None
    with django_assert_num_queries(3):
        track.get("experiments/get", experiment_id=experiment_id)
    assert ApiToken.objects.get().last_used_at == token.last_used_at


def test_a_session_is_no_token(web, engineer):
    response = web(engineer).get("/api/2.0/mlflow/experiments/get?experiment_id=0")
    assert response.status_code == 401


def test_a_refusal_is_recorded(client_of, viewer):
    client_of(viewer).refused("POST", CREATE, {"name": "a"})
    assert AuditRecord.objects.filter(action="run.track", result="refused").count() == 1


@pytest.mark.parametrize("raw", ["null", '{"name": "cut', "\ufeff{}", '{"name": "\\ud800"}', "[" * 5000])
def test_a_body_that_cannot_be_read_is_an_empty_one(track, raw):
    assert track.refused("POST", CREATE, raw=raw)[2].startswith("Missing value for required parameter 'name'.")


@pytest.mark.parametrize("raw", ["[]", "5", "true", '["a"]'])
def test_a_body_that_is_no_object(track, raw):
    status, code, text = track.refused("POST", CREATE, raw=raw)
    assert (status, code) == (400, "INVALID_PARAMETER_VALUE")
    assert text.startswith("The body must be a JSON object")


def test_a_nul_is_refused(track):
    assert track.refused("POST", CREATE, raw='{"name": "a\\u0000b"}')[0] == 400
    assert track.refused("POST", CREATE, raw='{"name": "b", "tags": [{"key": "a", "value": "\\u0000"}]}')[0] == 400
    assert track.refused("POST", CREATE, raw=json.dumps('{"name": "a\\u0000b"}'))[0] == 400
    assert track.refused("GET", "experiments/get-by-name?experiment_name=a%00b")[0] == 400


def test_a_path_that_only_looks_like_a_nul_is_taken(track):
    assert track.send("POST", CREATE, raw=json.dumps({"name": r"D:\u0000_x"})).status_code == 200


def test_json_in_a_json_text_is_read(track):
    assert track.send("POST", CREATE, raw='"{\\"name\\": \\"doubled\\"}"').json() == {"experiment_id": "1"}


def test_unknown_fields_are_ignored(track):
    assert track.post(CREATE, name="a", colour="blue")


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("text/plain", "Bad Request. Content-Type must be one of ['application/json']."),
        ("", "Bad Request. Content-Type header is missing."),
    ],
)
def test_another_content_type_is_refused(track, kind, text):
    assert track.refused("POST", CREATE, {"name": "a"}, content_type=kind)[2] == text


def test_a_charset_may_be_told(track):
    response = track.send("POST", CREATE, {"name": "a"}, content_type="application/json; charset=utf-8")
    assert response.status_code == 200


def test_a_body_that_is_too_large(track, settings):
    settings.DATA_UPLOAD_MAX_MEMORY_SIZE = 100
    assert track.refused("POST", CREATE, {"name": "a" * 200})[:2] == (413, "INVALID_PARAMETER_VALUE")


def test_what_a_run_read_may_be_longer(track, settings, experiment_id):
    run_id = track.post("runs/create", experiment_id=experiment_id)["run"]["info"]["run_id"]
    settings.DATA_UPLOAD_MAX_MEMORY_SIZE = 1000
    about = {"name": "wine", "digest": "ab", "profile": "x" * 5000}
    assert track.post("runs/log-inputs", run_id=run_id, datasets=[{"dataset": about}]) == {}
    inputs = track.get("runs/get", run_id=run_id)["run"]["inputs"]
    assert inputs["dataset_inputs"][0]["dataset"]["profile"] == about["profile"]
    too_long = {"run_id": run_id, "padding": "x" * INPUTS_BYTES}
    assert track.refused("POST", "runs/log-inputs", too_long)[:2] == (413, "INVALID_PARAMETER_VALUE")


def test_a_long_body_is_read_only_of_who_may_send_it(track, engineer, settings, monkeypatch):
    settings.DATA_UPLOAD_MAX_MEMORY_SIZE = 1000
    monkeypatch.setattr(request, "read_long_body", lambda *_: pytest.fail("read"))
    Membership.objects.filter(user=engineer).update(role="viewer")
    assert track.refused("POST", "runs/log-inputs", {"run_id": "x", "padding": "x" * 5000})[0] == 403


def test_an_unknown_address_and_a_wrong_method(track):
    assert track.refused("POST", "nothing/here")[:2] == (404, "ENDPOINT_NOT_FOUND")
    assert track.refused("GET", "experiments/get/", {"experiment_id": "0"})[:2] == (404, "ENDPOINT_NOT_FOUND")
    assert track.refused("PUT", CREATE)[:2] == (405, "METHOD_NOT_ALLOWED")


def test_the_first_of_a_repeated_parameter_counts(track, experiment_id):
    told = track.get("experiments/get", experiment_id=[experiment_id, "77"])
    assert told["experiment"]["experiment_id"] == experiment_id


def broken(error):
    def fail(ask):
        raise error

    return fail


def test_a_defect_is_told_by_its_request_id(track, monkeypatch, caplog):
    monkeypatch.setitem(
        dispatcher.ROUTES_BY_ADDRESS, ("GET", "api/2.0/mlflow/x"), Route(broken(KeyError("a secret")), "run.view")
    )
    status, code, text = track.refused("GET", "x")
    assert (status, code) == (500, "INTERNAL_ERROR")
    assert "secret" not in text
    assert "a secret" in caplog.text


def test_a_database_that_is_away_is_told_to_try_again(track, monkeypatch):
    away = OperationalError("connection refused")
    monkeypatch.setitem(dispatcher.ROUTES_BY_ADDRESS, ("GET", "api/2.0/mlflow/x"), Route(broken(away), "run.view"))
    response = track.send("GET", "x")
    assert (response.status_code, response.json()["error_code"]) == (503, "TEMPORARILY_UNAVAILABLE")
    assert response.headers["Retry-After"] == "5"
