"""What nobody decides by the due date is suspended, and comes back when a reviewer confirms it."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest
from django.utils import timezone

from apps.core.actors import ProjectRole
from apps.core.errors import Conflict, Refused
from apps.platform.accounts.models import ApiToken, Membership, ServiceAccount, User
from apps.platform.accounts.services import disable_service_account, disable_user, enable_user, revoke_token
from apps.platform.audit.models import AuditRecord
from apps.platform.recertification.models import Campaign
from apps.platform.recertification.services import close_campaign, decide_grants, start_campaign, suspend_overdue

pytestmark = pytest.mark.django_db


@pytest.fixture
def campaign(engineer, approver, auditor, secadmin, project, make_token, actor_for) -> Campaign:
    """Overdue, over: three roles, three system roles, a token, a service account."""
    make_token(engineer)
    User.objects.create(username="auditor2", system_role="auditor", must_change_password=False)
    loader = ServiceAccount.objects.create(project=project, name="loader")
    Membership.objects.create(project=project, service_account=loader, role=ProjectRole.ENGINEER)
    campaign = start_campaign(actor=actor_for(secadmin), name="autumn", days=30)
    Campaign.objects.update(due_at=timezone.now() - timedelta(seconds=1))
    return campaign


@pytest.fixture
def tool_campaign(engineer, secadmin, sysadmin, project, make_token, actor_for) -> tuple[Campaign, ApiToken]:
    """Overdue; the token of a tool, whose review stands before that of the tool itself, and one of a person."""
    make_token(engineer)
    loader = ServiceAccount.objects.create(project=project, name="loader")
    Membership.objects.create(project=project, service_account=loader, role=ProjectRole.ENGINEER)
    _secret, token = make_token(None, project, ["read"], service_account=loader)
    campaign = start_campaign(actor=actor_for(secadmin), name="autumn", days=30)
    Campaign.objects.update(due_at=timezone.now() - timedelta(seconds=1))
    return campaign, token


def list_states(campaign) -> dict[str, str]:
    rows = campaign.reviews.values_list("kind", "holder", "decision")
    return {f"{kind} {holder}": decision for kind, holder, decision in rows}


def test_it_is_taken_with_records_and_the_last_of_each_kind_stays(campaign, engineer, worker_actor, actor_for):
    assert suspend_overdue(actor=worker_actor) == 6
    assert {name for name, decision in list_states(campaign).items() if decision == "pending"} == {
        "system_role secadmin",
        "system_role auditor2",  # the first of the two auditors went
    }
    assert actor_for(engineer).project_roles == {}
    assert not ApiToken.objects.filter(revoked_at=None).exists()
    assert not ServiceAccount.objects.filter(is_active=True).exists()
    rows = AuditRecord.objects.filter(action="recertification.suspend")
    assert {json.loads(row.body)["actor"]["kind"] for row in rows} == {"plane"}
    assert (rows.count(), suspend_overdue(actor=worker_actor)) == (6, 0)


def test_confirmed_it_comes_back_and_revoked_it_is_gone(campaign, engineer, secadmin, project, worker_actor, actor_for):
    suspend_overdue(actor=worker_actor)
    reviewer = {"actor": actor_for(secadmin), "campaign": campaign, "reason": "looked at it"}
    back = campaign.reviews.filter(holder__in=["engineer", "loader", "auditor"])
    assert decide_grants(rows=back, decision="confirmed", **reviewer) == 5
    assert actor_for(engineer).project_roles == {project.pk: {ProjectRole.ENGINEER}}
    assert ApiToken.objects.filter(revoked_at=None).count() == 1
    assert Membership.objects.filter(service_account__name="loader", service_account__is_active=True).exists()
    assert User.objects.get(username="auditor").system_role == "auditor"
    assert AuditRecord.objects.filter(action="recertification.restore").count() == 5
    decide_grants(rows=campaign.reviews.filter(holder="approver"), decision="revoked", **reviewer)
    assert list_states(campaign)["membership approver"] == "revoked"
    assert not Membership.objects.filter(user__username="approver").exists()


def test_what_the_holder_may_not_have_any_more_stays_away(campaign, engineer, secadmin, worker_actor, actor_for):
    suspend_overdue(actor=worker_actor)
    User.objects.filter(pk=engineer.pk).update(system_role="system_admin", is_active=False)
    rows = campaign.reviews.filter(holder="engineer")
    decide_grants(actor=actor_for(secadmin), campaign=campaign, rows=rows, decision="confirmed")
    assert not Membership.objects.filter(user=engineer).exists()
    assert not ApiToken.objects.filter(revoked_at=None).exists()


def test_the_token_of_a_tool_comes_back_with_the_tool(tool_campaign, secadmin, worker_actor, actor_for):
    campaign, token = tool_campaign
    suspend_overdue(actor=worker_actor)
    decide_grants(actor=actor_for(secadmin), campaign=campaign, rows=None, decision="confirmed")
    token.refresh_from_db()
    assert (token.revoked_at, token.is_suspended, token.service_account.is_active) == (None, False, True)


@pytest.mark.parametrize("how", ["revoked", "account disabled", "tool disabled"])
def test_what_was_revoked_while_it_was_suspended_stays_gone(
    how, tool_campaign, engineer, secadmin, sysadmin, worker_actor, actor_for
):
    campaign, token = tool_campaign
    suspend_overdue(actor=worker_actor)
    User.objects.filter(pk=sysadmin.pk).update(system_role="system_admin")  # the due date took it
    own = ApiToken.objects.get(user=engineer)
    if how == "revoked":
        revoke_token(actor=actor_for(secadmin), token=own)
        with pytest.raises(Conflict):
            revoke_token(actor=actor_for(secadmin), token=own)
    elif how == "account disabled":
        disable_user(actor=actor_for(sysadmin), user=engineer)
        enable_user(actor=actor_for(sysadmin), user=engineer)
    else:
        disable_service_account(actor=actor_for(secadmin), account=token.service_account)
    decide_grants(actor=actor_for(secadmin), campaign=campaign, rows=None, decision="confirmed")
    lost = token if how == "tool disabled" else own
    assert ApiToken.objects.get(pk=lost.pk).revoked_at is not None
    assert ServiceAccount.objects.get(pk=token.service_account_id).is_active == (how != "tool disabled")
    assert ApiToken.objects.filter(revoked_at=None).count() == 1


def test_what_is_suspended_when_the_campaign_ends_stays_away(tool_campaign, secadmin, worker_actor, actor_for):
    campaign, token = tool_campaign
    suspend_overdue(actor=worker_actor)
    close_campaign(actor=actor_for(secadmin), campaign=campaign)
    token.refresh_from_db()
    assert (token.revoked_at is None, token.is_suspended, token.service_account.is_suspended) == (False, False, False)
    assert not token.service_account.is_active


def test_kept_where_the_setting_says_so_and_by_the_worker_alone(campaign, settings, worker_actor, secadmin, actor_for):
    with pytest.raises(Refused):
        suspend_overdue(actor=actor_for(secadmin))
    settings.ENV = settings.ENV.model_copy(update={"recertification_overdue": "keep"})
    assert suspend_overdue(actor=worker_actor) == 0


def test_the_history_knows_the_time_without_it(campaign, engineer, secadmin, project, worker_actor, actor_for):
    from apps.platform.access_history.changes import parse_revocation
    from apps.platform.access_history.histories import list_revocations

    suspend_overdue(actor=worker_actor)
    rows = campaign.reviews.filter(holder="engineer", kind="membership")
    decide_grants(actor=actor_for(secadmin), campaign=campaign, rows=rows, decision="confirmed")
    [review] = list_revocations(["engineer"])
    changes = [change.after for _key, change in parse_revocation(review, campaign.started_at)]
    assert changes == [True, False, True]


def test_the_history_knows_when_a_token_did_not_work(campaign, engineer, secadmin, worker_actor, actor_for):
    from apps.platform.access_history.histories import load_people
    from apps.platform.access_history.standings import build_standings

    began = timezone.now()
    suspend_overdue(actor=worker_actor)
    decide_grants(actor=actor_for(secadmin), campaign=campaign, rows=None, decision="confirmed")
    ended = timezone.now() + timedelta(minutes=1)
    [history] = load_people([engineer], began, ended)
    standings = build_standings(history, {}, began, ended)
    counts = [len(standing.tokens) for standing in standings]
    assert (counts[0], 0 in counts, counts[-1]) == (1, True, 1)


def test_a_decision_about_everything_says_so(web, campaign, secadmin):
    client, address = web(secadmin), f"/api/v1/recertifications/{campaign.pk}/decide"
    codes = {}
    for name, body in {"neither": {}, "both": {"ids": [1], "all": True}}.items():
        answer = client.post(address, {"decision": "revoked", "reason": "x", **body}, content_type="application/json")
        codes[name] = (answer.status_code, answer.json()["error"]["code"])
    assert codes == dict.fromkeys(codes, (422, "grants_missing"))
    assert not campaign.reviews.exclude(decision="pending").exists()
    answer = client.post(address, {"decision": "confirmed", "all": True}, content_type="application/json")
    assert answer.json()["decided"] == 7  # all but one's own
