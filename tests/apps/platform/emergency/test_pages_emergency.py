from __future__ import annotations

import pytest

from apps.platform.emergency.models import EmergencyGrant

pytestmark = pytest.mark.django_db
PAGE = "/emergency"
SENT = {"scope": "", "role": "system_admin", "hours": "2", "reason": "the furnace is down"}


def test_asked_confirmed_shown_on_every_page_and_ended(web, engineer, secadmin, viewer):
    assert web(engineer).post(PAGE, SENT).status_code == 302
    grant = EmergencyGrant.objects.get()
    page = f"{PAGE}/{grant.pk}"
    assert b"Confirm emergency access?" not in web(engineer).get(page).content
    assert b"Confirm emergency access?" in web(secadmin).get(page).content
    banner = f'data-emergency="{grant.pk}"'.encode()
    assert banner not in web(secadmin).get("/").content
    web(secadmin).post(f"{page}/confirm")
    for person, address in ((engineer, "/p/demo/"), (secadmin, "/people"), (viewer, "/account")):
        assert banner in web(person).get(address).content, person
    assert b"You act with emergency access." in web(engineer).get("/").content
    assert web(engineer).get("/people").status_code == 200  # what a system administrator sees
    assert web(viewer).post(f"{page}/end", {"reason": "x"}).status_code == 403
    web(engineer).post(f"{page}/end", {"reason": "repaired"})
    assert banner not in web(engineer).get("/").content
    assert web(engineer).get("/people").status_code == 403


def test_a_fault_stands_at_its_field(web, engineer, auditor):
    answer = web(engineer).post(PAGE, {**SENT, "hours": "900"})
    assert (answer.status_code, b"1 to 8 hours" in answer.content) == (422, True)
    assert web(engineer).post(PAGE, {**SENT, "scope": "other"}).status_code == 404
    assert web(auditor).post(PAGE, SENT).status_code == 403
    assert not EmergencyGrant.objects.exists()


def test_rest_does_the_same_by_session_and_no_token_does(web, api, make_token, engineer, sysadmin, other_project):
    client = web(engineer)
    made = client.post("/api/v1/emergency-grants", {**SENT, "hours": 1}, content_type="application/json")
    assert made.status_code == 201, made.content
    address = f"/api/v1/emergency-grants/{made.json()['id']}"
    assert client.post(f"{address}/confirm").status_code == 403
    assert web(sysadmin).post(f"{address}/confirm").json()["status"] == "active"
    assert [row["user"] for row in web(sysadmin).get("/api/v1/emergency-grants?status=active").json()["items"]] == [
        "engineer"
    ]
    token = api(make_token(engineer)[0])
    assert {token.get("/api/v1/emergency-grants").status_code, token.post(f"{address}/end").status_code} == {403}
    ended = client.post(f"{address}/end", {"reason": "over"}, content_type="application/json")
    assert ended.json()["status"] == "ended"
    assert client.get("/api/v1/emergency-grants?status=nonsense").status_code == 422
    assert b"furnace" in client.get(f"{PAGE}?format=csv").getvalue()


def test_members_see_grants_of_their_projects_alone(web, engineer, other_project, secadmin, sysadmin):
    grant = EmergencyGrant.objects.create(user=sysadmin, project=other_project, role="viewer", reason="x", hours=1)
    assert web(engineer).get(f"{PAGE}/{grant.pk}").status_code == 404
    assert web(secadmin).get(f"{PAGE}/{grant.pk}").status_code == 200
