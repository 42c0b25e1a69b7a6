import pytest
from allauth.mfa.models import Authenticator

from apps.core.errors import Conflict, Refused
from apps.platform.accounts.services import reset_second_factor


@pytest.fixture
def lost(approver, give_factor):
    give_factor(approver)
    return approver


def test_every_factor_and_session_ends_and_is_recorded(lost, secadmin_actor, web, records):
    page = web(lost)
    page.get("/account")  # from now on the list of sessions has it
    reset_second_factor(actor=secadmin_actor, user=lost, reason="Phone lost")
    assert not Authenticator.objects.filter(user=lost).exists()
    assert page.get("/account").headers["Location"].startswith("/accounts/login/")
    [body] = records("user.reset_second_factor")
    assert (body["reason"], body["before"]["factors"]) == ("Phone lost", ["recovery_codes", "totp"])


@pytest.mark.parametrize("who", ["sysadmin", "auditor", "engineer", "stranger"])
def test_who_resets_passwords_takes_no_factor_away(who, request, lost, actor_for):
    with pytest.raises(Refused):
        reset_second_factor(actor=actor_for(request.getfixturevalue(who)), user=lost)
    assert Authenticator.objects.filter(user=lost).exists()


def test_not_ones_own(secadmin, secadmin_actor, give_factor):
    give_factor(secadmin)
    with pytest.raises(Refused) as refusal:
        reset_second_factor(actor=secadmin_actor, user=secadmin)
    assert refusal.value.code == "own_account"


def test_none_to_take_away(approver, secadmin_actor):
    with pytest.raises(Conflict) as refusal:
        reset_second_factor(actor=secadmin_actor, user=approver)
    assert refusal.value.code == "nothing_to_change"


def test_by_page_and_by_session(lost, secadmin, web, settings, give_factor):
    settings.SECOND_FACTOR_ROLES = frozenset()  # it is about the button
    client = web(secadmin)
    assert "Remove the second factor" in client.get(f"/people/{lost.username}").content.decode()
    assert client.post(f"/people/{lost.username}/reset-second-factor", {"reason": "Lost"}).status_code == 302
    assert not Authenticator.objects.filter(user=lost).exists()
    give_factor(lost)
    answer = client.post(f"/api/v1/users/{lost.username}/reset-second-factor", {}, content_type="application/json")
    assert answer.status_code == 200
    assert not Authenticator.objects.filter(user=lost).exists()
