"""The middleware: each named error in the form that the client reads, a refusal recorded after the rollback."""

from __future__ import annotations

import errno
import json

import pytest
from django.contrib.auth.decorators import login_not_required
from django.db import DatabaseError, OperationalError, transaction
from django.http import HttpResponse
from django.urls import include, path
from django.views.decorators.http import require_POST

from apps.core.errors import Conflict, Invalid, NotFound, PlaneError, Refused, StorageFull, Unauthenticated, Unavailable
from apps.platform.audit.models import AuditRecord
from apps.platform.audit.services import record

pytestmark = [pytest.mark.django_db, pytest.mark.urls(__name__)]
REFUSED = Refused("somebody may not do job.cancel.", action="job.cancel", object_type="job", object_id=9, hint="Ask.")
ERRORS: dict[str, Exception] = {
    "404": NotFound("There is no such thing."),
    "409": Conflict("It is running."),
    "422": Invalid("Too wide.", field="/width", limit=10),
    "403": REFUSED,
    "503": Unavailable("Down for now."),
    "507": StorageFull("The disk is full."),
    "locked": OperationalError("database is locked"),
    "full": OSError(errno.ENOSPC, "No space left on device"),
    "login": Unauthenticated("Log in."),
    "defect": DatabaseError("no such column: secret"),
}


@login_not_required
def failing(request, name):
    with transaction.atomic():
        record(actor=request.actor, action="thing.change", object_id="rolled back")
        raise ERRORS[name]


@login_not_required
@require_POST
def taking(request):
    return HttpResponse("taken")


urlpatterns = [
    path("forms", taking),
    path("api/v1/forms", taking),
    path("page/<str:name>", failing),
    path("api/v1/<str:name>", failing),
    path("accounts/", include("allauth.urls")),
]
STATUSES = [(name, error.status) for name, error in ERRORS.items() if isinstance(error, PlaneError) and name != "login"]


@pytest.mark.parametrize(("name", "status"), [*STATUSES, ("locked", 503), ("full", 507)])
def test_a_page_with_what_to_do(client, name, status):
    answer = client.get(f"/page/{name}")
    text = answer.content.decode()
    assert (answer.status_code, answer.headers["Content-Type"].split(";")[0]) == (status, "text/html")
    assert "Traceback" not in text
    if isinstance(ERRORS[name], PlaneError):
        assert ERRORS[name].message in text
    assert ("Retry-After" in answer.headers) is (status == 503)


def test_an_address_of_a_form_says_so_when_it_is_loaded(client):
    answer = client.get("/forms")
    assert (answer.status_code, answer.headers["Allow"]) == (405, "POST")
    assert "it takes what a form sends" in answer.content.decode()
    assert client.post("/forms").content == b"taken"
    told = client.get("/api/v1/forms").json()["error"]
    assert (told["code"], told["limit"]) == ("method_not_allowed", "POST")
    told = client.put("/api/v1/forms").json()["error"]
    assert (told["message"], told["hint"]) == ("PUT is not for this address.", "Use one that it has.")


@pytest.mark.parametrize("address", ["/api/v1/422", "/page/422"])
def test_json_for_programs(client, address):
    answer = client.get(address, headers={"Accept": "application/json"})
    error = answer.json()["error"]
    assert (answer.status_code, error["code"], error["field"], error["limit"]) == (422, "invalid", "/width", 10)
    assert error["errors"][0]["message"] == error["message"]


def test_a_browser_that_also_takes_json_gets_a_page(client):
    answer = client.get("/page/404", headers={"Accept": "text/html,application/json;q=0.9"})
    assert answer.headers["Content-Type"].startswith("text/html")


def test_the_unknown_are_led_to_the_login(client):
    assert client.get("/page/login?a=1").headers["Location"] == "/accounts/login/?next=/page/login%3Fa%3D1"
    assert client.get("/page/login", headers={"HX-Request": "true"}).headers["HX-Redirect"].startswith("/accounts/")
    assert client.get("/api/v1/login").status_code == 401


@pytest.mark.django_db(transaction=True)
def test_a_refusal_is_recorded_after_the_rollback(client):
    assert client.get("/page/403").status_code == 403
    (row,) = AuditRecord.objects.all()
    facts = json.loads(row.body)
    assert (row.action, row.result, row.object_type, row.object_id) == ("job.cancel", "refused", "job", "9")
    assert facts["reason"] == REFUSED.message
    assert facts["after"] == {"code": "refused", "method": "GET", "path": "/page/403"}
    assert row.request_id


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("name", ["409", "locked"])
def test_what_is_no_refusal_leaves_no_record(client, name):
    client.get(f"/page/{name}")
    assert not AuditRecord.objects.exists()


def test_a_defect_stays_a_defect(client):
    with pytest.raises(DatabaseError):
        client.get("/page/defect")


def test_a_refusal_stands_without_its_record(client, monkeypatch):
    def full(**_):
        raise OperationalError("database or disk is full")

    monkeypatch.setattr("apps.platform.audit.services.record", full)
    assert client.get("/page/403").status_code == 403


def test_a_page_that_cannot_be_drawn_still_tells(client, monkeypatch):
    monkeypatch.setattr("apps.platform.audit.middleware.select_template", lambda names: 1 / 0)
    answer = client.get("/page/422")
    assert (answer.status_code, "Too wide." in answer.content.decode()) == (422, True)
