"""Who needs a second factor reaches the pages that set it up and nothing else; at an approval it is asked for again."""

from urllib.parse import quote

import pytest
from allauth.mfa.models import Authenticator
from django.core.cache import cache
from django.test import Client
from django.urls import get_resolver

from apps.core.errors import Refused
from apps.platform.accounts.factors import requirements
from apps.platform.accounts.factors.middleware import WITHOUT_FACTOR
from apps.platform.accounts.factors.requirements import require_factor
from apps.platform.accounts.models import ApiToken, ServiceAccount
from apps.platform.accounts.services import create_token
from apps.platform.emergency.models import EmergencyGrant

FACTORS = "/accounts/2fa/"


@pytest.mark.parametrize("who", ["sysadmin", "secadmin", "auditor", "approver"])
def test_every_page_leads_to_the_set_up(who, request, log_in):
    client = log_in(request.getfixturevalue(who))
    for path in ("/account", "/account/tokens", "/accounts/sessions/", "/people"):
        answer = client.get(path)
        assert (answer.status_code, answer.headers["Location"]) == (302, FACTORS), path
    assert "Your role needs one" in client.get(FACTORS).content.decode()
    refusal = client.get("/api/v1/me")
    assert (refusal.status_code, refusal.json()["error"]["code"]) == (403, "second_factor_required")


def test_other_roles_need_none(engineer, log_in):
    assert log_in(engineer).get("/account").status_code == 200


def test_the_set_up_opens_the_plane(approver, log_in, code, password):
    client = log_in(approver)
    assert client.get(FACTORS + "totp/activate/").headers["Location"].startswith("/accounts/reauthenticate/")
    client.post("/accounts/reauthenticate/", {"password": password})
    secret = client.get(FACTORS + "totp/activate/").context["form"].secret
    assert client.post(FACTORS + "totp/activate/", {"code": "12345x"}).status_code == 200
    assert client.get("/account").status_code == 302
    answer = client.post(FACTORS + "totp/activate/", {"code": code(secret)})
    assert answer.headers["Location"] == FACTORS + "recovery-codes/"
    assert client.get("/account").status_code == 200


def test_recovery_codes_are_shown_once_and_work_once(approver, log_in, give_factor, password):
    codes = give_factor(approver).get_unused_codes()
    client = log_in(approver, codes[0])
    client.post("/accounts/reauthenticate/", {"password": password})
    assert codes[1] in client.get(FACTORS + "recovery-codes/").content.decode()
    assert codes[1] not in client.get(FACTORS + "recovery-codes/").content.decode()
    client.post("/accounts/logout/")
    assert log_in(approver, codes[0]).get("/account").status_code == 302
    assert log_in(approver, codes[1]).get("/account").status_code == 200


def test_a_session_from_before_the_factor_must_give_it(approver, web, give_factor, code):
    client = web(approver)
    give_factor(approver)
    answer = client.get("/account")
    assert answer.headers["Location"] == FACTORS + "reauthenticate/?next=%2Faccount"
    client.post(FACTORS + "reauthenticate/", {"code": code()})
    assert client.get("/account").status_code == 200


def test_a_session_from_before_the_factor_adds_none_by_the_password_alone(approver, web, give_factor, password):
    client = web(approver)
    give_factor(approver)
    client.post("/accounts/reauthenticate/", {"password": password})
    for page in ("webauthn/add/", "totp/activate/"):
        assert client.get(FACTORS + page).headers["Location"].startswith(FACTORS + "reauthenticate/?next="), page


def test_a_code_works_once_for_as_long_as_it_is_right(approver, give_factor, log_in, code, password):
    """allauth forgets a used code after one step of 30 s; with its tolerance a code is right for three."""
    give_factor(approver)
    used = code()
    assert log_in(approver, used).get("/account").status_code == 200
    cache.delete(f"allauth.mfa.totp.used?user={approver.pk}&code={used}")  # as after 30 s
    client = Client()
    client.post("/accounts/login/", {"login": approver.username, "password": password})
    answer = client.post(FACTORS + "authenticate/", {"code": f"{used[:3]} {used[3:]}"})
    assert answer.status_code == 200
    assert client.get("/account").status_code == 302


def test_wrong_codes_lock_the_account_as_wrong_passwords_do(approver, client, give_factor, password, code, settings):
    give_factor(approver)
    client.post("/accounts/login/", {"login": approver.username, "password": password})
    answers = [client.post(FACTORS + "authenticate/", {"code": "000000"}) for _ in range(settings.AXES_FAILURE_LIMIT)]
    assert [answer.status_code for answer in answers] == [200] * (settings.AXES_FAILURE_LIMIT - 1) + [429]
    assert client.post(FACTORS + "authenticate/", {"code": code()}).status_code == 200
    assert client.get("/account").status_code == 302
    again = Client().post("/accounts/login/", {"login": approver.username, "password": password})
    assert again.status_code == 429


def test_the_last_factor_of_such_a_role_stays(approver, log_in, give_factor, password, settings):
    give_factor(approver)
    client = log_in(approver)
    client.post("/accounts/reauthenticate/", {"password": password})
    page = client.post(FACTORS + "totp/deactivate/").content.decode()
    assert "Your role needs a second factor" in page
    assert Authenticator.objects.filter(user=approver, type="totp").exists()
    settings.SECOND_FACTOR_ROLES = frozenset()
    assert client.post(FACTORS + "totp/deactivate/").status_code == 302
    assert not Authenticator.objects.filter(user=approver).exists()


def test_removing_one_asks_for_the_password_again(engineer, log_in, give_factor):
    give_factor(engineer)
    answer = log_in(engineer).get(FACTORS + "totp/deactivate/")
    assert answer.headers["Location"].startswith("/accounts/reauthenticate/")


def test_tokens_that_decide_need_it_too(approver, project, actor_for, make_token, give_factor):
    def create():
        return create_token(
            actor=actor_for(approver), project=project, name="votes", scopes=["read", "approvals:decide"]
        )

    with pytest.raises(Refused) as refusal:
        create()
    assert refusal.value.code == "second_factor_missing"
    give_factor(approver)
    assert create()


def test_a_screen_left_open_creates_no_token_that_decides(approver, project, log_in, give_factor, monkeypatch):
    give_factor(approver)
    client = log_in(approver)
    asked = {"project": project.slug, "name": "votes", "scopes": ["approvals:decide"], "days": 1}
    assert client.post("/api/v1/tokens", asked, content_type="application/json").status_code == 201
    monkeypatch.setattr(requirements, "FRESH_SECONDS", -1)  # as after six minutes
    answer = client.post("/api/v1/tokens", asked, content_type="application/json")
    assert (answer.status_code, answer.json()["error"]["code"]) == (403, "factor_not_fresh")
    page = client.post("/account/tokens", asked)
    assert page.headers["Location"] == FACTORS + "reauthenticate/?next=%2Faccount%2Ftokens"
    assert ApiToken.objects.count() == 1
    harmless = client.post(
        "/api/v1/tokens", asked | {"name": "looks", "scopes": ["read"]}, content_type="application/json"
    )
    assert harmless.status_code == 201


def test_a_screen_left_open_gives_nobody_rights(secadmin, viewer, project, log_in, give_factor, monkeypatch, settings):
    """Clearances, labels and emergency access, by page and by REST: each asks for the factor again."""
    give_factor(secadmin)
    client = log_in(secadmin)
    grant = EmergencyGrant.objects.create(user=viewer, project=None, role="system_admin", reason="x", hours=1)
    label = {"label": "internal", "reason": "x"}
    rest = {
        f"users/{viewer.username}/clearance": label,
        f"projects/{project.slug}/label": label,
        f"projects/{project.slug}/dataset-labels/none": label,
        f"projects/{project.slug}/service-accounts/none/clearance": label,
        f"emergency-grants/{grant.pk}/confirm": {},
    }
    pages = {
        f"/people/{viewer.username}/clearance": f"/people/{viewer.username}",
        f"/labels/{project.slug}": f"/labels/{project.slug}",
        f"/emergency/{grant.pk}/confirm": f"/emergency/{grant.pk}",
    }
    ServiceAccount.objects.create(project=project, name="none")
    monkeypatch.setattr(requirements, "FRESH_SECONDS", -1)  # as after six minutes
    answers = {}
    for path, body in rest.items():
        send = client.post if path.endswith("confirm") else client.put
        answers[path] = send(f"/api/v1/{path}", body, content_type="application/json").json()["error"]["code"]
    assert answers == dict.fromkeys(rest, "factor_not_fresh")
    ways = {path: client.post(path, {"clearance-clearance": "internal", **label}) for path in pages}
    assert {path: answer.headers["Location"] for path, answer in ways.items()} == {
        path: f"{FACTORS}reauthenticate/?next={quote(back, safe='')}" for path, back in pages.items()
    }
    viewer.refresh_from_db(), project.refresh_from_db(), grant.refresh_from_db()
    assert (viewer.clearance, project.security_label, grant.state) == (0, 0, "requested")
    monkeypatch.undo()
    assert client.post(f"/emergency/{grant.pk}/confirm").headers["Location"] == f"/emergency/{grant.pk}"
    grant.refresh_from_db()
    assert grant.state == "active"


def test_the_operators_token_of_a_first_account_decides_until_somebody_logs_in(approver, actor_for, make_token):
    from apps.platform.accounts.actors import build_actor_for_token

    token = make_token(approver, created_by=None)[1]
    approver.must_change_password = True
    approver.save()
    actor = build_actor_for_token(ApiToken.objects.select_related("user").get(pk=token.pk))
    require_factor(actor, "approval.decide")
    approver.must_change_password = False
    approver.save()
    with pytest.raises(Refused):
        require_factor(actor, "approval.decide")


def test_the_allow_list_names_views_that_exist():
    names = {key for key in get_resolver().reverse_dict if isinstance(key, str)}
    assert names >= WITHOUT_FACTOR
