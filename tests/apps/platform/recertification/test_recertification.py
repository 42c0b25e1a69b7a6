from __future__ import annotations

import json
from datetime import timedelta

import pytest
from django.utils import timezone

from apps.core.actors import ProjectRole
from apps.core.errors import Conflict, Invalid, NotFound, Refused
from apps.platform.accounts.models import ApiToken, Membership, ServiceAccount, User
from apps.platform.audit.models import AuditRecord
from apps.platform.recertification.models import Campaign, GrantReview
from apps.platform.recertification.queries import count_decisions, get_campaign, list_reviews
from apps.platform.recertification.services import close_campaign, decide_grants, start_campaign

pytestmark = pytest.mark.django_db


@pytest.fixture
def campaign(engineer, approver, auditor, secadmin, project, make_token, actor_for) -> Campaign:
    """A campaign of the security administrator over: three roles, two system roles, a token, a service account."""
    make_token(engineer)
    loader = ServiceAccount.objects.create(project=project, name="loader")
    Membership.objects.create(project=project, service_account=loader, role=ProjectRole.ENGINEER)
    return start_campaign(actor=actor_for(secadmin), name="autumn", days=30)


def test_it_holds_every_grant_and_each_reviewer_decides_about_others(
    campaign, secadmin, auditor, approver, engineer, actor_for
):
    kinds = sorted(campaign.reviews.values_list("kind", "holder"))
    assert kinds == [
        ("membership", "approver"),
        ("membership", "engineer"),
        ("membership", "loader"),
        ("service_account", "loader"),
        ("system_role", "auditor"),
        ("system_role", "secadmin"),
        ("token", "engineer"),
    ]
    decided = {
        person.username: decide_grants(actor=actor_for(person), campaign=campaign, rows=None, decision="confirmed")
        for person in (approver, auditor, secadmin)
    }
    assert decided == {"approver": 4, "auditor": 1, "secadmin": 2}  # all but one's own, of each
    assert count_decisions(actor_for(secadmin), campaign)["pending"] == 0
    with pytest.raises(Refused):
        list_reviews(actor_for(engineer), campaign)


def test_a_revoked_grant_is_gone_at_once_with_a_record(campaign, secadmin, engineer, actor_for, project):
    actor = actor_for(secadmin)
    rows = campaign.reviews.filter(holder__in=["engineer", "loader"])
    with pytest.raises(Invalid):
        decide_grants(actor=actor, campaign=campaign, rows=rows, decision="revoked", reason=" ")
    assert decide_grants(actor=actor, campaign=campaign, rows=rows, decision="revoked", reason="left") == 4
    assert actor_for(engineer).project_roles == {}
    assert not ApiToken.objects.filter(revoked_at=None).exists()
    assert not ServiceAccount.objects.filter(is_active=True).exists()
    records = AuditRecord.objects.filter(action="recertification.revoke")
    assert {json.loads(row.body)["reason"] for row in records} == {"left"}
    assert records.count() == 4
    with pytest.raises(Refused):  # decided already
        decide_grants(actor=actor, campaign=campaign, rows=rows, decision="confirmed")


def test_nobody_reviews_oneself_and_the_last_security_administrator_stays(campaign, secadmin, auditor, actor_for):
    own = campaign.reviews.filter(holder="secadmin")
    with pytest.raises(Refused) as caught:
        decide_grants(actor=actor_for(secadmin), campaign=campaign, rows=own, decision="confirmed")
    assert caught.value.code == "not_reviewer"
    revoke = {"actor": actor_for(auditor), "campaign": campaign, "decision": "revoked", "reason": "left"}
    with pytest.raises(Conflict) as last:
        decide_grants(rows=own, **revoke)
    assert last.value.code == "last_administrator"
    User.objects.create(username="secadmin2", system_role="security_admin")
    decide_grants(rows=own, **revoke)
    secadmin.refresh_from_db()
    assert secadmin.system_role == ""


def test_an_administrators_role_that_was_not_reviewed_stays(campaign, secadmin, auditor, actor_for):
    """The auditor reviewed a security administrator, who is the system administrator by now."""
    User.objects.create(username="secadmin2", system_role="security_admin")
    User.objects.filter(pk=secadmin.pk).update(system_role="system_admin")
    own = campaign.reviews.filter(holder="secadmin")
    decide_grants(actor=actor_for(auditor), campaign=campaign, rows=own, decision="revoked", reason="left")
    secadmin.refresh_from_db()
    assert secadmin.system_role == "system_admin"


def test_one_campaign_at_a_time_and_what_is_open_is_shown_as_overdue(campaign, secadmin, sysadmin, actor_for):
    actor = actor_for(secadmin)
    with pytest.raises(Conflict):
        start_campaign(actor=actor, name="again", days=30)
    for fields in ({"name": "x", "days": 0}, {"name": "", "days": 5}):
        with pytest.raises(Invalid):
            start_campaign(actor=actor, **fields)
    with pytest.raises(Refused):
        start_campaign(actor=actor_for(sysadmin), name="x", days=5)
    Campaign.objects.update(due_at=timezone.now() - timedelta(seconds=1))
    assert get_campaign(actor, campaign.pk).is_overdue
    close_campaign(actor=actor, campaign=campaign)
    for call in (
        lambda: close_campaign(actor=actor, campaign=campaign),
        lambda: decide_grants(actor=actor, campaign=campaign, rows=None, decision="confirmed"),
    ):
        with pytest.raises(Conflict):
            call()
    start_campaign(actor=actor, name="winter", days=30)
    with pytest.raises(NotFound):
        get_campaign(actor, 10**9)


def test_the_page_filters_confirms_and_exports(web, campaign, secadmin, engineer, auditor):
    client, page = web(secadmin), f"/recertification/{campaign.pk}"
    assert b"engineer" in client.get(page).content
    assert b"engineer" not in client.get(f"{page}?kind=system_role").content.split(b"<tbody>")[1]
    assert client.get(f"{page}?kind=nonsense").status_code == 422
    one = campaign.reviews.get(kind="token")
    assert client.post(f"{page}/decide", {"do": "confirmed", "ids": one.pk}).status_code == 302
    assert client.post(f"{page}/decide", {"do": "confirm_all"}).status_code == 302
    assert GrantReview.objects.filter(decision="pending").count() == 1  # one's own
    assert b"membership" in client.get(f"{page}?format=csv").getvalue()
    assert web(engineer).get(page).status_code == 403
    assert web(auditor).post("/recertification", {"name": "x", "days": "5"}).status_code == 403
    assert client.post("/recertification", {"name": "x", "days": "5"}).status_code == 409


def test_rest_does_the_same_by_session(web, api, make_token, campaign, secadmin, approver):
    client, address = web(secadmin), f"/api/v1/recertifications/{campaign.pk}"
    assert len(client.get(f"{address}/grants?kind=membership").json()["items"]) == 3
    ids = list(campaign.reviews.filter(kind="membership").values_list("pk", flat=True))
    body = json.dumps({"ids": ids, "decision": "confirmed"})
    assert client.post(f"{address}/decide", body, content_type="application/json").json() == {"decided": 3}
    assert client.post(f"{address}/decide", body, content_type="application/json").status_code == 403
    assert api(make_token(approver)[0]).get(f"{address}/grants").status_code == 403  # no token
    assert client.post(f"{address}/close", "{}", content_type="application/json").json()["closed_by"] == "secadmin"
    made = client.post("/api/v1/recertifications", json.dumps({"name": "w"}), content_type="application/json")
    assert made.status_code == 201
