from __future__ import annotations

import json

import pytest
from django.db import connection
from django.utils import timezone

from apps.platform.accounts.models import Membership, User
from apps.platform.accounts.services import set_member_roles
from apps.platform.audit.models import AuditRecord
from apps.platform.audit.services import record
from apps.platform.audit.triggers import disable_triggers

pytestmark = pytest.mark.django_db
PAGE, REST = "/access-history", "/api/v1/access-history"


def test_the_page_filters_exports_and_says_where_the_trail_begins(web, auditor, secadmin, engineer, approver):
    client = web(auditor)
    page = client.get(PAGE).content.decode()
    assert "approver" in page
    assert "The trail begins after this time." in page  # the cast was written without records
    able = client.get(f"{PAGE}?action=approval.decide&project=demo").content.decode().split("<tbody>")[1]
    assert "approver" in able
    assert ">engineer<" not in able
    assert client.get(f"{PAGE}?on=2999-01-01").status_code == 422
    assert client.get(f"{PAGE}?action=nonsense").status_code == 422
    lines = client.get(f"{PAGE}?format=csv").getvalue().decode().splitlines()
    assert lines[0].startswith("holder,access,system_role,roles,tokens,emergency,clearance")
    assert any(line.startswith("engineer,") and "demo: engineer" in line for line in lines)
    assert AuditRecord.objects.filter(action="list.export", object_id="access-history").exists()
    assert web(secadmin).get(PAGE).status_code == 200


def test_rest_pages_by_holder(web, auditor, engineer, approver, make_token):
    make_token(engineer)
    client = web(auditor)
    first = client.get(f"{REST}?limit=2").json()
    assert [row["holder"] for row in first["items"]] == ["approver", "auditor"]
    second = client.get(f"{REST}?limit=2&cursor={first['next']}").json()["items"]
    assert second[0]["holder"] == "engineer"
    now = second[0]["standings"][-1]
    assert now["roles"] == [{"project": "demo", "role": "engineer", "cleared": True}]
    assert [token["name"] for token in now["tokens"]] == ["test"]
    assert now["until"] is not None
    refused = client.get(f"{REST}?time=9")
    assert (refused.status_code, refused.json()["error"]["field"]) == (422, "time")


def test_others_see_nothing(web, api, sysadmin, approver, auditor):
    for who in (sysadmin, approver):
        assert web(who).get(PAGE).status_code == 403
        assert web(who).get(REST).status_code == 403
    assert api(approver).get(REST).status_code == 403


def test_an_account_of_later_is_not_in_the_answer(web, auditor):
    User.objects.create(username="young", created_at=timezone.now())
    assert b"young" in web(auditor).get(PAGE).content
    assert b"young" not in web(auditor).get(f"{PAGE}?on=2d").content.split(b"</form>")[-1]
    assert not Membership.objects.exists()


def test_records_that_were_tampered_with_name_nothing(web, auditor, secadmin, engineer, project, actor_for):
    set_member_roles(actor=actor_for(secadmin), project=project, member=engineer, roles=["viewer"])
    record(actor=actor_for(secadmin), action="user.set_expiry", obj=engineer, after={"expires_at": None})
    bodies = (
        {"before": {"roles": 7}, "after": {"roles": 7}},
        {"after": {"roles": ["viewer"], "expires_at": "soon", "is_active": [], "clearance": {}, "system_role": "king"}},
        {"before": {"expires_at": "2026-01-01"}, "after": {"expires_at": "2026-01-01"}},
        {"after": {"expires_at": 7, "system_role": ["king"]}},
    )
    client = web(auditor)
    for body in bodies:
        with disable_triggers(connection):
            AuditRecord.objects.filter(object_type="user", object_id=str(engineer.pk)).update(body=json.dumps(body))
        for address in (f"{PAGE}?action=approval.decide&project=demo", PAGE, REST):
            assert client.get(address).status_code == 200, (body, address)
