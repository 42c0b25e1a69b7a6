import base64
from datetime import timedelta

import pytest
from django.utils import timezone
from rest_framework.test import APIClient

from apps.platform.accounts.models import ApiToken, User

pytestmark = pytest.mark.services
ME = "/api/v1/me"


def basic(secret: str) -> str:
    return "Basic " + base64.b64encode(f"anyone:{secret}".encode()).decode()


def test_the_ways_to_send_it(engineer, make_token):
    secret, _ = make_token(engineer)
    for value in (f"Bearer {secret}", f"bearer {secret}", f"Token {secret}", basic(secret)):
        answer = APIClient().get(ME, headers={"Authorization": value})
        assert answer.json()["label"] == "engineer", value


INVALID_HEADERS = [
    ("Bearer dso_no", "token_unknown"),
    ("Bearer", "token_malformed"),
    ("Digest x", "token_malformed"),
    ("Basic %%%", "token_malformed"),
    ("Basic " + base64.b64encode(b"\xff\xfe").decode(), "token_malformed"),
    ("Basic \xe9\xe9", "token_malformed"),
]


def test_invalid_headers_are_named(db):
    for header, code in INVALID_HEADERS:
        answer = APIClient().get(ME, headers={"Authorization": header})
        assert (answer.status_code, answer.json()["error"]["code"]) == (401, code), header
        assert answer.headers["WWW-Authenticate"].startswith("Bearer"), header


@pytest.mark.parametrize(
    ("columns", "code"),
    [
        ({"expires_at": timezone.now() - timedelta(seconds=1)}, "token_expired"),
        ({"revoked_at": timezone.now()}, "token_revoked"),
    ],
)
def test_dead_tokens(engineer, make_token, api, columns, code):
    answer = api(make_token(engineer, **columns)[0]).get(ME)
    assert (answer.status_code, answer.json()["error"]["code"]) == (401, code)


def test_who_still_sends_a_dead_token_is_recorded_once_a_minute(engineer, make_token, api, records):
    secret, token = make_token(engineer, revoked_at=timezone.now())
    for _ in range(3):
        api(secret).get(ME)
    (body,) = records("token.use")
    assert (body["actor"]["label"], body["actor"]["token"], body["result"]) == ("engineer", token.pk, "refused")
    assert (body["after"]["code"], body["project"]) == ("token_revoked", token.project_id)
    assert secret not in str(body)


def test_the_owner_is_disabled(engineer, api):
    client = api(engineer)
    User.objects.update(is_active=False)
    assert client.get(ME).json()["error"]["code"] == "account_disabled"


def test_no_token_no_session(db):
    answer = APIClient().get(ME)
    assert (answer.status_code, answer.json()["error"]["code"]) == (401, "unauthenticated")


def test_another_project_is_not_there(engineer, other_project, api):
    assert api(engineer).get("/api/v1/projects/demo").status_code == 200
    assert api(engineer).get("/api/v1/projects/other").status_code == 404


def test_a_missing_scope_is_named(engineer, make_token, api):
    answer = api(make_token(engineer, scopes=["jobs:write"])[0]).get("/api/v1/projects")
    error = answer.json()["error"]
    assert (answer.status_code, error["code"], error["limit"]) == (403, "scope_missing", "read")


def test_the_last_use_is_noted_once_a_minute(engineer, make_token, api):
    secret, _ = make_token(engineer)
    api(secret).get(ME)
    first = ApiToken.objects.get()
    assert first.last_used_from == "127.0.0.1"
    api(secret).get(ME)
    assert ApiToken.objects.get().last_used_at == first.last_used_at
    long_ago = timezone.now() - timedelta(seconds=61)
    ApiToken.objects.update(last_used_at=long_ago)
    api(secret).get(ME)
    assert ApiToken.objects.get().last_used_at > long_ago


def test_two_queries_to_know_who_asks(engineer, make_token, api, django_assert_num_queries):
    secret, _ = make_token(engineer, last_used_at=timezone.now())
    client = api(secret)
    with django_assert_num_queries(3):  # the token, its roles; the third is the answer's own
        client.get(ME)


def test_a_token_writes_without_csrf(engineer, make_token, project):
    client = APIClient(enforce_csrf_checks=True)
    client.credentials(HTTP_AUTHORIZATION=f"Bearer {make_token(engineer)[0]}")
    answer = client.post("/api/v1/tokens", {"project": "demo", "name": "t", "scopes": ["read"]})
    assert answer.json()["error"]["code"] == "scope_missing"


def test_a_session_writes_with_csrf_only(engineer, web, project):
    client = web(engineer, csrf=True)
    body = {"project": "demo", "name": "t", "scopes": ["read"]}
    answer = client.post("/api/v1/tokens", body, content_type="application/json")
    assert (answer.status_code, answer.json()["error"]["code"]) == (403, "csrf_failed")
    client.get("/account")
    token = client.cookies["csrftoken"].value
    answer = client.post("/api/v1/tokens", body, content_type="application/json", headers={"X-CSRFToken": token})
    assert answer.status_code == 201


def test_the_request_carries_id_and_address(engineer, api):
    answer = api(engineer).get(ME, headers={"X-Request-ID": "trace-0001"})
    assert answer.headers["X-Request-ID"] == "trace-0001"
    assert len(api(engineer).get(ME, headers={"X-Request-ID": "<b>"}).headers["X-Request-ID"]) == 32
