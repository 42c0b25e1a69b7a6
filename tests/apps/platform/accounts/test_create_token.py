import re
from datetime import timedelta

import pytest
from django.utils import timezone

from apps.core.canonical import sha256_hex
from apps.core.errors import Conflict, Invalid, NotFound, Refused
from apps.platform.accounts.actors import build_actor_for_token
from apps.platform.accounts.models import ApiToken
from apps.platform.accounts.services import create_token, create_token_for_service_account, disable_service_account


def test_the_secret_is_not_kept(engineer, project, actor_for, records):
    token, secret = create_token(actor=actor_for(engineer), project=project, name="notebook", scopes=["read"])
    assert re.fullmatch(r"dso_[A-Za-z0-9_-]{43}", secret)
    assert (token.digest, token.prefix) == (sha256_hex(secret), secret[:12])
    assert secret not in str(ApiToken.objects.values().get())
    assert timedelta(days=89) < token.expires_at - timezone.now() <= timedelta(days=90)
    assert secret not in str(records("token.create"))


@pytest.mark.parametrize(
    ("who", "scopes"),
    [("viewer", ["read"]), ("engineer", ["data:write", "jobs:write", "read"]), ("auditor", ["audit:read"])],
)
def test_scopes_that_the_role_can_use(who, scopes, request, project, actor_for):
    actor = actor_for(request.getfixturevalue(who))
    token, _ = create_token(actor=actor, project=project, name="t", scopes=scopes)
    assert token.scopes == scopes


@pytest.mark.parametrize(
    ("who", "scopes", "code"),
    [
        ("viewer", ["jobs:write"], "scope_not_usable"),
        ("engineer", ["read", "audit:read"], "scope_not_usable"),
        ("auditor", ["read"], "scope_not_usable"),
        ("engineer", ["admin"], "unknown_scope"),
        ("engineer", [], "scopes_missing"),
    ],
)
def test_scopes_refused(who, scopes, code, request, project, actor_for):
    with pytest.raises(Invalid) as caught:
        create_token(actor=actor_for(request.getfixturevalue(who)), project=project, name="t", scopes=scopes)
    assert (caught.value.code, caught.value.field) == (code, "/scopes")


@pytest.mark.parametrize(("days", "fine"), [(0, False), (1, True), (366, True), (367, False), (-5, False)])
def test_lifetime(engineer, project, actor_for, days, fine):
    make = {"actor": actor_for(engineer), "project": project, "name": "t", "scopes": ["read"], "days": days}
    if fine:
        assert create_token(**make)[0].expires_at > timezone.now()
        return
    with pytest.raises(Invalid) as caught:
        create_token(**make)
    assert caught.value.field == "/days"


@pytest.mark.parametrize(("name", "fine"), [("n" * 80, True), ("n" * 81, False), ("  ", False)])
def test_name(engineer, project, actor_for, name, fine):
    if fine:
        create_token(actor=actor_for(engineer), project=project, name=name, scopes=["read"])
        return
    with pytest.raises(Invalid) as caught:
        create_token(actor=actor_for(engineer), project=project, name=name, scopes=["read"])
    assert caught.value.field == "/name"


@pytest.mark.parametrize(("who", "refusal"), [("sysadmin", Refused), ("secadmin", Refused), ("stranger", NotFound)])
def test_members_and_the_auditor_only(who, refusal, request, project, actor_for):
    with pytest.raises(refusal):
        create_token(actor=actor_for(request.getfixturevalue(who)), project=project, name="t", scopes=["read"])


def test_nobody_makes_one_for_another_person(engineer, viewer, project, actor_for, operator):
    with pytest.raises(Refused) as caught:
        create_token(actor=actor_for(engineer), project=project, name="t", scopes=["read"], user=viewer)
    assert caught.value.code == "not_yours"
    token, _ = create_token(actor=operator, project=project, name="t", scopes=["read"], user=viewer)
    assert token.user == viewer


def test_a_token_makes_no_token(engineer, project, make_token):
    actor = build_actor_for_token(make_token(engineer)[1])
    with pytest.raises(Refused) as caught:
        create_token(actor=actor, project=project, name="t", scopes=["read"])
    assert caught.value.code == "scope_missing"


def test_for_a_service_account(secadmin_actor, tool, project):
    token, _ = create_token_for_service_account(actor=secadmin_actor, account=tool, name="t", scopes=["data:write"])
    assert (token.service_account, token.project, token.user) == (tool, project, None)


def test_not_for_a_disabled_one(secadmin_actor, tool):
    disable_service_account(actor=secadmin_actor, account=tool)
    with pytest.raises(Conflict) as caught:
        create_token_for_service_account(actor=secadmin_actor, account=tool, name="t", scopes=["read"])
    assert caught.value.code == "account_disabled"


@pytest.mark.parametrize(("who", "refusal"), [("engineer", Refused), ("sysadmin", Refused), ("stranger", NotFound)])
def test_tools_get_theirs_from_the_security_administrator(who, refusal, request, tool, actor_for):
    actor = actor_for(request.getfixturevalue(who))
    with pytest.raises(refusal):
        create_token_for_service_account(actor=actor, account=tool, name="t", scopes=["read"])


def test_who_holds_a_token_is_named(secadmin, tool, web, engineer):
    at = "/api/v1/projects/demo/service-accounts/loader/tokens"
    client, body = web(secadmin), {"name": "t", "scopes": ["models:write"]}
    answers = [
        client.post(at, {**body, **more}, content_type="application/json")
        for more in ({}, {"holder": "nobody"}, {"holder": "engineer"})
    ]
    assert [answer.status_code for answer in answers] == [201, 404, 201]
    error = answers[1].json()["error"]
    assert (error["code"], error["field"]) == ("not_found", "/holder")
    holders = [(answer.json()["created_by"], answer.json()["holder"]) for answer in answers[::2]]
    assert holders == [("secadmin", None), ("secadmin", "engineer")]
