"""Whose credentials an administrator has set decides nothing, until an administrator of the other kind confirms it."""

from __future__ import annotations

import ast
from io import StringIO
from pathlib import Path

import pytest
from django.core.management import call_command

from apps.core import policy
from apps.core.actors import Actor, SystemRole
from apps.core.errors import Conflict, PlaneError, Refused
from apps.platform.accounts import services
from apps.platform.accounts.actors import build_actor_for_token, build_actor_for_user
from apps.platform.accounts.confirmations import is_first_installation, is_unconfirmed, require_confirmed
from apps.platform.accounts.models import ChangeKind, CredentialChange, User
from tests.conftest import person

CHOSEN = "Chosen by the person 9"


@pytest.fixture
def reset(sysadmin_actor, approver):
    """The approver after the system administrator's reset, and after the one-time password was replaced."""
    services.reset_password(actor=sysadmin_actor, user=approver)
    return choose_password(approver)


def choose_password(user: User) -> User:
    user.refresh_from_db()
    user.set_password(CHOSEN)
    user.must_change_password = False
    user.save()
    return user


def services_actor(user: User) -> Actor:
    return build_actor_for_user(User.objects.get(pk=user.pk))


def code_of(call) -> str:
    """The code of the error that the call ends with; "" where it ends well."""
    try:
        call()
    except PlaneError as error:
        return error.code
    return ""


def test_the_security_administrator_confirms(reset, secadmin_actor, secadmin, sysadmin, web, records):
    page = web(reset)
    assert page.get("/account").status_code == 200
    with pytest.raises(Refused) as caught:
        require_confirmed(services_actor(reset), "approval.decide")
    assert (caught.value.code, caught.value.limit) == ("credentials_unconfirmed", "security admin")
    assert caught.value.message.startswith("sysadmin set the credentials")
    services.confirm_credentials(actor=secadmin_actor, user=reset, reason="asked in person")
    change = CredentialChange.objects.get(user=reset)
    assert (change.by, change.by_role, change.kind) == (sysadmin, "system_admin", ChangeKind.PASSWORD)
    assert (change.confirmed_by, change.confirmed_at is not None) == (secadmin, True)
    require_confirmed(services_actor(reset), "approval.decide")
    assert page.get("/account").status_code == 302, "a session of whoever knew the one-time password goes on"
    (body,) = records("user.confirm_credentials")
    assert body["before"] == {"unconfirmed": [{"kind": "password", "by": "sysadmin"}]}


def test_nobody_else_confirms(reset, sysadmin, auditor, engineer, approver, actor_for):
    """The one who reset it, another of the same kind, the auditor, a member, the account itself."""
    second = person("second", system_role=SystemRole.SYSTEM_ADMIN)
    codes = {
        user.username: code_of(lambda user=user: services.confirm_credentials(actor=actor_for(user), user=reset))
        for user in (sysadmin, second, auditor, engineer, approver)
    }
    assert codes == {
        "sysadmin": "own_change",
        "second": "wrong_administrator",
        "auditor": "wrong_administrator",
        "engineer": "refused",
        "approver": "refused",
    }
    assert is_unconfirmed(reset.pk)


def test_who_reset_it_never_confirms_whatever_role_comes_later(reset, sysadmin, actor_for):
    User.objects.filter(pk=sysadmin.pk).update(system_role=SystemRole.SECURITY_ADMIN)
    assert code_of(lambda: services.confirm_credentials(actor=actor_for(sysadmin), user=reset)) == "own_change"


def test_no_administrator_confirms_their_own_account(operator, secadmin, actor_for):
    services.reset_password(actor=operator, user=secadmin)
    choose_password(secadmin)
    code = code_of(lambda: services.confirm_credentials(actor=actor_for(secadmin), user=secadmin))
    assert code == "credentials_unconfirmed"


def test_an_unconfirmed_administrator_confirms_nobody(reset, operator, secadmin, auditor, actor_for):
    """The operator resets the approver's password and the security administrator's: the auditor comes in between."""
    services.reset_password(actor=operator, user=secadmin)
    choose_password(secadmin)
    confirm = {"actor": actor_for(secadmin), "user": reset}
    assert code_of(lambda: services.confirm_credentials(**confirm)) == "credentials_unconfirmed"
    services.confirm_credentials(actor=actor_for(auditor), user=secadmin)
    services.confirm_credentials(**confirm)
    assert not is_unconfirmed(reset.pk)


def test_a_role_from_the_operator_confirms_nothing_by_itself(reset, operator, secadmin, nobody_yet, actor_for):
    services.set_system_role(actor=operator, user=nobody_yet, system_role="security_admin")
    confirm = {"actor": actor_for(nobody_yet), "user": reset}
    assert code_of(lambda: services.confirm_credentials(**confirm)) == "credentials_unconfirmed"


def test_an_approver_made_by_the_operator_waits(operator, secadmin, project, engineer):
    services.set_member_roles(actor=operator, project=project, member=engineer, roles=["approver", "engineer"])
    assert CredentialChange.objects.get(user=engineer).kind == ChangeKind.ROLE


def test_not_before_the_one_time_password_is_replaced(sysadmin_actor, secadmin_actor, approver):
    services.reset_password(actor=sysadmin_actor, user=approver)
    with pytest.raises(Conflict) as caught:
        services.confirm_credentials(actor=secadmin_actor, user=approver)
    assert caught.value.code == "one_time_password"


def test_nothing_to_confirm(secadmin_actor, approver):
    assert code_of(lambda: services.confirm_credentials(actor=secadmin_actor, user=approver)) == "nothing_to_change"


def test_a_new_account_waits_and_roles_do_not_confirm_it(sysadmin_actor, secadmin_actor, project):
    user, _ = services.create_user(actor=sysadmin_actor, username="puppet")
    services.set_member_roles(actor=secadmin_actor, project=project, member=user, roles=["approver"])
    assert CredentialChange.objects.get(user=user, confirmed_at=None).kind == ChangeKind.CREATED
    choose_password(user)
    assert code_of(lambda: require_confirmed(services_actor(user), "approval.decide")) == "credentials_unconfirmed"


def test_ones_own_new_password_needs_nobody(web, approver, password):
    form = {"oldpassword": password, "password1": CHOSEN, "password2": CHOSEN}
    web(approver).post("/accounts/password/change/", form)
    approver.refresh_from_db()
    assert approver.check_password(CHOSEN)
    assert not is_unconfirmed(approver.pk)


def test_no_token_outlives_the_confirmation(reset, project, actor_for):
    """Whoever borrows the account could create one now, and decide with it when the account is confirmed."""
    make = {"actor": actor_for(reset), "project": project, "name": "t"}
    codes = [
        code_of(lambda scope=scope: services.create_token(scopes=[scope], **make))
        for scope in ("read", "models:write", "approvals:decide")
    ]
    assert codes == ["", "credentials_unconfirmed", "credentials_unconfirmed"]


def test_a_token_from_the_operator_decides_nothing(operator, project, approver, make_token):
    """Nor is one created that could be for nothing else; one of an earlier plane is refused at its use."""
    make = {"actor": operator, "project": project, "user": approver, "name": "t"}
    assert code_of(lambda: services.create_token(scopes=["approvals:decide"], **make)) == "token_not_own"
    made, _ = services.create_token(scopes=["models:write"], **make)
    tokens = made, make_token(approver, created_by=None)[1], make_token(approver)[1]
    codes = [
        code_of(lambda token=token: require_confirmed(build_actor_for_token(token), "approval.decide"))
        for token in tokens
    ]
    assert codes == ["token_not_own", "token_not_own", ""]


def test_a_token_from_the_operator_decides_until_the_person_takes_the_account_over(operator, project, approver):
    """The operator of a new plane holds the first passwords as well."""
    User.objects.filter(pk=approver.pk).update(must_change_password=True)
    approver.refresh_from_db()
    make = {"actor": operator, "project": project, "user": approver, "name": "t"}
    token, _ = services.create_token(scopes=["approvals:decide"], **make)
    require_confirmed(build_actor_for_token(token), "approval.decide")
    choose_password(approver)
    assert code_of(lambda: require_confirmed(build_actor_for_token(token), "approval.decide")) == "token_not_own"
    assert code_of(lambda: services.create_token(scopes=["approvals:decide"], **make)) == "token_not_own"


# -- the first accounts of a plane ----------------------------------------------------------------------------------
def test_the_first_accounts_are_confirmed_and_later_ones_are_not(db):
    call_command("create_first_accounts", stdout=StringIO())
    assert not CredentialChange.objects.filter(confirmed_at=None).exists()
    call_command("create_user", "late", stdout=StringIO())
    assert CredentialChange.objects.get(confirmed_at=None).user.username == "late"


def test_taking_the_security_administrator_away_begins_nothing_anew(db):
    call_command("create_first_accounts", stdout=StringIO())
    call_command("set_roles", "secadmin", "--system-role", "", stdout=StringIO())
    call_command("create_user", "late", "--system-role", "security_admin", stdout=StringIO())
    assert is_unconfirmed(User.objects.get(username="late").pk)


def test_a_security_administrator_without_a_row_is_not_forgotten_with_the_role(operator, secadmin, sysadmin):
    services.set_system_role(actor=operator, user=sysadmin, system_role="")
    assert not CredentialChange.objects.exists(), "nobody could confirm the first security administrator any more"
    services.set_system_role(actor=operator, user=secadmin, system_role="")
    assert not is_unconfirmed(secadmin.pk)
    assert not is_first_installation(operator)


def test_a_system_administrator_makes_no_first_account(sysadmin_actor):
    user, _ = services.create_user(actor=sysadmin_actor, username="new")
    assert is_unconfirmed(user.pk)


# -- every decision -------------------------------------------------------------------------------------------------
def test_every_service_that_decides_asks_for_confirmed_credentials():
    """By reading the code: the statement after `policy.require` of such an action is `require_confirmed` of it."""
    missing, found = [], set()
    for path in sorted(Path(policy.__file__).parents[1].rglob("*.py")):
        if path.name != "services.py" and path.parent.name != "services":
            continue
        for function in ast.walk(ast.parse(path.read_text())):
            if not isinstance(function, ast.FunctionDef):
                continue
            calls = [(name_of(each), action_of(each)) for each in function.body]
            for (name, action), after in zip(calls, [*calls[1:], ("", "")], strict=True):
                if name == "require" and action in policy.DECISIONS:
                    found.add(action)
                    missing += [f"{path}:{function.name}"] if after != ("require_confirmed", action) else []
    assert missing == []
    assert found == policy.DECISIONS


def name_of(statement: ast.stmt) -> str:
    call = getattr(statement, "value", None)
    if not isinstance(call, ast.Call):
        return ""
    return call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")


def action_of(statement: ast.stmt) -> str:
    call = getattr(statement, "value", None)
    arguments = call.args if isinstance(call, ast.Call) else []
    return arguments[1].value if len(arguments) > 1 and isinstance(arguments[1], ast.Constant) else ""


# -- REST and pages -------------------------------------------------------------------------------------------------
def test_by_rest(reset, secadmin, sysadmin, engineer, web, api):
    at = f"/api/v1/users/{reset.username}"
    (shown,) = web(sysadmin).get(at).json()["unconfirmed"]
    assert (shown["kind"], shown["by"], shown["by_role"]) == ("password", "sysadmin", "system_admin")
    answers = [
        client.post(f"{at}/confirm-credentials", {"reason": "asked"}, content_type="application/json").status_code
        for client in (web(sysadmin), web(engineer), web(secadmin), web(secadmin))
    ]
    assert answers == [403, 403, 200, 409]
    assert web(sysadmin).get(at).json()["unconfirmed"] == []


def test_no_token_confirms(reset, secadmin, make_token, api, project):
    client = api(make_token(secadmin, in_project=project, scopes=["read"])[0])
    assert client.post(f"/api/v1/users/{reset.username}/confirm-credentials", {}).status_code == 403


def test_the_account_page_says_so(reset, engineer, web):
    assert 'data-code="credentials_unconfirmed"' in web(reset).get("/account").content.decode()
    assert 'data-code="credentials_unconfirmed"' not in web(engineer).get("/account").content.decode()


def test_when_and_where_the_password_was_chosen_is_shown(sysadmin_actor, secadmin, approver, web):
    """Whoever set the one-time password could have replaced it before they handed it over."""
    one_time = services.reset_password(actor=sysadmin_actor, user=approver)
    approver.refresh_from_db()
    browser, form = web(approver), {"oldpassword": one_time, "password1": CHOSEN, "password2": CHOSEN}
    browser.post("/accounts/password/change/", form, REMOTE_ADDR="10.7.7.7")
    shown = web(secadmin).get("/api/v1/users/approver").json()
    approver.refresh_from_db()
    assert shown["password_changed_from"] == "10.7.7.7"
    assert shown["password_changed_at"] is not None
    for page in (web(secadmin).get("/people/approver"), web(approver).get("/account")):
        assert "10.7.7.7" in page.content.decode()


def test_on_the_pages(reset, secadmin, sysadmin, web):
    people = {
        who: web(user).get("/people?state=unconfirmed").content.decode()
        for who, user in {"sec": secadmin, "sys": sysadmin}.items()
    }
    assert "/people/approver#unconfirmed" in people["sec"]
    assert "/people/approver#unconfirmed" not in people["sys"]
    assert "/people/approver/confirm" in web(secadmin).get("/people/approver").content.decode()
    assert "/people/approver/confirm" not in web(sysadmin).get("/people/approver").content.decode()
    assert "/people/approver#unconfirmed" in web(secadmin).get("/").content.decode()
    assert web(secadmin).post("/people/approver/confirm", {"reason": "asked"}).status_code == 302
    assert not is_unconfirmed(reset.pk)
    again = web(secadmin).post("/people/approver/confirm", {"reason": "asked"})
    assert again.status_code == 409
