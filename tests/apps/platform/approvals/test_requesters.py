"""Whoever is behind a service account has asked for what it asks for, and does not decide it."""

from __future__ import annotations

import pytest
from django.conf import settings
from django.test import Client

from apps.core.actors import ProjectRole
from apps.core.errors import Conflict, Refused
from apps.platform.accounts import services as accounts
from apps.platform.accounts.actors import build_actor_for_token, build_actor_from_grant
from apps.platform.accounts.models import ApiToken, HolderKind, ServiceAccountHolder
from apps.platform.approvals import queries
from apps.platform.approvals.models import Approval
from tests.conftest import member


@pytest.fixture
def both(project):
    """Engineer and approver: runs the service account, and could decide."""
    return member(project, "both", ProjectRole.ENGINEER, ProjectRole.APPROVER)


@pytest.fixture
def robot(project, secadmin, actor_for):
    return accounts.create_service_account(actor=actor_for(secadmin), project=project, name="robot", roles=["engineer"])


@pytest.fixture
def issue(robot, secadmin, actor_for):
    """issue(holder) -> a token of the robot that the security administrator hands to this person."""

    def issued(holder) -> ApiToken:
        about = {"actor": actor_for(secadmin), "account": robot, "name": "t", "scopes": ["models:write", "read"]}
        return accounts.create_token_for_service_account(**about, holder=holder)[0]

    return issued


def test_who_holds_the_token_does_not_approve_with_n_of_one(ask, issue, both, second, decide, make_token, api, web):
    approval = ask(by=build_actor_for_token(issue(both)))
    assert (approval.needed, approval.eligible) == (1, 2)  # without `both`
    with pytest.raises(Refused) as caught:
        decide(both, approval)
    assert caught.value.code == "own_request"
    at = f"/api/v1/projects/demo/approvals/{approval.pk}"
    client = api(make_token(both)[0])
    vote = client.post(f"{at}/approve", {"facts_digest": approval.facts_digest, "reason": "Fine."}, format="json")
    assert (vote.status_code, vote.json()["error"]["code"]) == (403, "own_request")
    shown = client.get(at).json()
    assert {"person": "both", "kind": "holds_token"} in shown["requester_people"]
    assert shown["waits_for_me"] is False
    page = web(both).get(f"/p/demo/approvals/{approval.pk}").content.decode()
    assert "both holds a token" in page
    assert 'name="decision"' not in page
    assert decide(second, approval).state == "approved"


def test_after_rotation_and_deletion(ask, issue, both, second, decide, secadmin, actor_for):
    """The token of before is revoked, then gone; the new one is somebody else's."""
    old = issue(both)
    accounts.revoke_token(actor=actor_for(secadmin), token=old)
    old.delete()
    approval = ask(by=build_actor_for_token(issue(member(old.project, "successor", ProjectRole.ENGINEER))))
    assert second not in [both]
    with pytest.raises(Refused) as caught:
        decide(both, approval)
    assert caught.value.code == "own_request"


def test_who_gets_a_token_later_counts_too(ask, issue, both, second, approver, two_needed, decide):
    """Even the vote that they have given counts no more."""
    approval = ask(by=build_actor_for_token(issue(approver)))
    decide(both, approval)
    issue(both)
    decide(second, approval)
    assert Approval.objects.get(pk=approval.pk).state == "pending"
    assert [vote.counts for vote in queries.list_votes(approval)] == [False, True]


def test_who_created_account_and_token(ask, issue, engineer, robot, secadmin):
    ask(by=build_actor_for_token(issue(engineer)))
    people = {(row.user.username, row.kind) for row in ServiceAccountHolder.objects.filter(service_account=robot)}
    assert people == {
        ("secadmin", HolderKind.CREATED_ACCOUNT),
        ("secadmin", HolderKind.CREATED_TOKEN),
        ("engineer", HolderKind.HOLDS_TOKEN),
    }


def test_who_uses_it_in_a_browser(ask, issue, engineer, both, second, make_token, web, robot, decide):
    """A person's session beside the robot's token: the plane knows who that is."""
    token = issue(engineer)
    secret, _ = make_token(None, token.project, ["read"], service_account=robot)
    client = Client()
    client.cookies[settings.SESSION_COOKIE_NAME] = web(both).cookies[settings.SESSION_COOKIE_NAME].value
    assert client.get("/api/v1/me", headers={"Authorization": f"Bearer {secret}"}).json()["label"] == "robot"
    assert ServiceAccountHolder.objects.get(user=both).kind == HolderKind.USED_TOKEN
    approval, _ = ask(by=build_actor_for_token(token)), second
    with pytest.raises(Refused):
        decide(both, approval)


def test_nobody_holds_it(robot, ask, make_token, approver, secadmin, actor_for):
    """A token of an earlier plane: anybody could be asking."""
    _, token = make_token(None, robot.project, ["models:write"], service_account=robot)
    with pytest.raises(Conflict) as caught:
        ask(by=build_actor_for_token(token))
    assert caught.value.code == "holder_unknown"


def test_the_one_who_could_approve_holds_it(issue, approver, ask):
    with pytest.raises(Conflict) as caught:
        ask(by=build_actor_for_token(issue(approver)))
    assert caught.value.code == "too_few_approvers"


def test_a_job_asks_for_whoever_submitted_it(ask, both, second, decide, make_token):
    token = make_token(both)[1]
    grant = build_actor_for_token(token).as_record() | {"scopes": token.scopes}
    approval = ask(by=build_actor_from_grant(grant).with_job(7))
    with pytest.raises(Refused) as caught:
        decide(both, approval)
    assert caught.value.code == "own_request"
    assert decide(second, approval).state == "approved"
