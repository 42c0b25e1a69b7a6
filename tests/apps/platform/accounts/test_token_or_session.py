"""Plain views that stream: the same people, the same refusals, without DRF."""

import pytest
from django.http import JsonResponse
from django.test import Client
from django.urls import include, path

from apps.platform.accounts.authentication import accept_token_or_session


@accept_token_or_session
def who(request):
    return JsonResponse({"label": request.actor.label, "token": request.actor.token_id, "size": len(request.read())})


urlpatterns = [path("api/who", who), path("", include("controlplane.urls"))]
pytestmark = pytest.mark.urls(__name__)
URL = "/api/who"


def put(client, **headers):
    return client.put(URL, b"12345", content_type="application/octet-stream", headers=headers)


def test_by_token(engineer, make_token):
    secret, token = make_token(engineer)
    answer = put(Client(enforce_csrf_checks=True), Authorization=f"Bearer {secret}")
    assert answer.json() == {"label": "engineer", "token": token.pk, "size": 5}


def test_by_session(engineer, web):
    assert web(engineer).get(URL).json()["label"] == "engineer"


def test_a_session_writes_with_csrf_only(engineer, web, records):
    client = web(engineer, csrf=True)
    assert put(client).json()["error"]["code"] == "csrf_failed"
    assert [(body["actor"]["label"], body["result"]) for body in records("session.write")] == [("engineer", "refused")]
    client.get("/account")
    assert put(client, **{"X-CSRFToken": client.cookies["csrftoken"].value}).json()["size"] == 5


@pytest.mark.parametrize(
    ("headers", "code"), [({}, "unauthenticated"), ({"Authorization": "Bearer dso_x"}, "token_unknown")]
)
def test_nobody(db, headers, code):
    answer = Client().get(URL, headers=headers)
    assert (answer.status_code, answer.json()["error"]["code"]) == (401, code)


def test_not_with_a_one_time_password(engineer, web):
    type(engineer).objects.update(must_change_password=True)
    answer = web(engineer).get(URL)
    assert (answer.status_code, answer.json()["error"]["code"]) == (403, "password_change_required")


def test_a_wrong_token_is_not_made_good_by_a_session(engineer, web):
    assert web(engineer).get(URL, headers={"Authorization": "Bearer dso_x"}).status_code == 401
