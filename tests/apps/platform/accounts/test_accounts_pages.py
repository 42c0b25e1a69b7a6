import re

import pytest

from apps.core.token_scopes import SCOPES
from apps.platform.accounts.forms import SCOPE_WORDS
from apps.platform.accounts.models import ApiToken, User
from apps.platform.accounts.row_operations import get_member_roles


def text_of(answer) -> str:
    return answer.content.decode()


def test_everybody_has_an_account_page(engineer, sysadmin, auditor, nobody_yet, web):
    for who in (engineer, sysadmin, auditor, nobody_yet):
        client = web(who)
        assert [client.get(path).status_code for path in ("/account", "/account/tokens")] == [200, 200], who


def test_the_name_is_changed(engineer, web):
    assert web(engineer).post("/account", {"name": "Chen Li"}).status_code == 302
    assert User.objects.get().name == "Chen Li"


def test_a_token_is_shown_once(engineer, web, api):
    client = web(engineer)
    form = {"name": "notebook", "project": "demo", "scopes": ["read"], "days": "30"}
    answer = client.post("/account/tokens", form)
    (secret,) = set(re.findall(r"dso_[A-Za-z0-9_-]{43}", text_of(answer)))
    assert api(secret).get("/api/v1/me").status_code == 200
    assert "no-store" in answer.headers["Cache-Control"]
    assert secret not in text_of(client.get("/account/tokens"))


def test_the_tokens_that_work_are_counted(engineer, web, make_token):
    make_token(engineer)
    _secret, revoked = make_token(engineer)
    web(engineer).post(f"/account/tokens/{revoked.pk}/revoke")
    assert "<b>1 token</b> of yours works now." in text_of(web(engineer).get("/account/tokens"))


def test_every_scope_has_its_words():
    assert set(SCOPE_WORDS) == set(SCOPES)


def test_an_invalid_form_says_so_beside_the_field(engineer, web):
    client = web(engineer)
    for wrong in (
        {"days": "0"},
        {"days": "x"},
        {"scopes": ["audit:read"]},
        {"scopes": []},
        {"project": "other"},
        {"name": ""},
    ):
        form = {"name": "t", "project": "demo", "scopes": ["read"], "days": "30", **wrong}
        answer = client.post("/account/tokens", form)
        assert (answer.status_code, 'class="err' in text_of(answer)) == (422, True), wrong
    assert not ApiToken.objects.exists()


def test_a_token_is_revoked(engineer, viewer, web, make_token):
    _, token = make_token(engineer)
    assert web(viewer).post(f"/account/tokens/{token.pk}/revoke").status_code == 404
    assert web(engineer).post(f"/account/tokens/{token.pk}/revoke").status_code == 302
    token.refresh_from_db()
    assert token.revoked_at is not None


def test_people_are_for_administrators(sysadmin, secadmin, auditor, engineer, stranger, viewer, web):
    found = {}
    for who in (sysadmin, secadmin, auditor, engineer, stranger):
        client = web(who)
        found[who.username] = {client.get(path).status_code for path in ("/people", "/people/viewer")}
    assert found == {
        "sysadmin": {200},
        "secadmin": {200},
        "auditor": {200},
        "engineer": {403},
        "stranger": {403},
    }


def test_the_system_administrator_makes_an_account(sysadmin, web):
    client = web(sysadmin)
    answer = client.post("/people", {"username": "li", "name": "Li"})
    (password,) = set(re.findall(r"(?:[a-z2-9]{5}-){3}[a-z2-9]{5}", text_of(answer)))
    assert User.objects.get(username="li").check_password(password)
    assert password not in text_of(client.get("/people"))
    again = client.post("/people", {"username": "LI"})
    assert (again.status_code, "is taken" in text_of(again)) == (422, True)


@pytest.mark.parametrize("who", ["secadmin", "auditor"])
def test_others_see_no_form_and_are_refused(who, request, web):
    client = web(request.getfixturevalue(who))
    assert "Create account" not in text_of(client.get("/people"))
    assert client.post("/people", {"username": "li"}).status_code == 403


def test_people_and_a_person_say_what_they_are(sysadmin, viewer, web):
    client = web(sysadmin)
    assert "<b>2 people</b> have an account." in text_of(client.get("/people"))
    assert "Has roles in <b>1 project</b>." in text_of(client.get("/people/viewer"))
    assert "Administrators work in no project." in text_of(client.get("/people/sysadmin"))


def test_people_are_found_by_name(sysadmin, engineer, viewer, web):
    text = text_of(web(sysadmin).get("/people?q=GINE"))
    assert "/people/engineer" in text
    assert "/people/viewer" not in text


def test_disable_enable_reset(sysadmin, viewer, web):
    client = web(sysadmin)
    client.post("/people/viewer/disable", {"reason": "left"})
    assert not User.objects.get(pk=viewer.pk).is_active
    client.post("/people/viewer/enable")
    assert User.objects.get(pk=viewer.pk).is_active
    answer = client.post("/people/viewer/reset")
    (password,) = set(re.findall(r"(?:[a-z2-9]{5}-){3}[a-z2-9]{5}", text_of(answer)))
    assert User.objects.get(pk=viewer.pk).check_password(password)


def test_roles_by_the_security_administrator(secadmin, project, viewer, web):
    client = web(secadmin)
    form = {"member-project": "demo", "member-roles": ["engineer"], "member-reason": "moved"}
    assert client.post("/people/viewer/memberships", form).status_code == 302
    assert get_member_roles(project, viewer) == {"engineer"}
    again = client.post("/people/viewer/memberships", form)
    assert (again.status_code, "has these roles already" in text_of(again)) == (422, True)
    client.post("/people/viewer/memberships", form | {"member-roles": []})
    assert get_member_roles(project, viewer) == frozenset()


def test_the_form_of_roles_opens_with_those_there_are(secadmin, viewer, web):
    text = text_of(web(secadmin).get("/people/viewer?project=demo"))
    assert re.findall(r'name="member-roles" value="(\w+)"[^>]*checked', text) == ["viewer"]


def test_the_system_role(secadmin, nobody_yet, viewer, web):
    client = web(secadmin)
    client.post("/people/newcomer/role", {"role-system_role": "auditor", "role-reason": "stands in"})
    assert User.objects.get(pk=nobody_yet.pk).system_role == "auditor"
    answer = client.post("/people/viewer/role", {"role-system_role": "auditor", "role-reason": "x"})
    assert (answer.status_code, "has roles in projects" in text_of(answer)) == (422, True)


@pytest.mark.parametrize("form", [{"role-system_role": "root", "role-reason": "x"}, {"role-system_role": "auditor"}])
def test_a_bad_role_form(secadmin, nobody_yet, web, form):
    assert web(secadmin).post("/people/newcomer/role", form).status_code == 422
    assert User.objects.get(pk=nobody_yet.pk).system_role == ""


@pytest.mark.parametrize(("who", "status"), [("viewer", 200), ("secadmin", 200), ("stranger", 404)])
def test_members(who, status, request, engineer, tool, web):
    answer = web(request.getfixturevalue(who)).get("/p/demo/members")
    assert answer.status_code == status
    assert ("loader" in text_of(answer)) == (status == 200)


def test_a_tool_is_disabled(secadmin, engineer, tool, web):
    assert web(engineer).post("/p/demo/members/loader/disable").status_code == 403
    assert web(secadmin).post("/p/demo/members/loader/disable", {"reason": "x"}).status_code == 302
    tool.refresh_from_db()
    assert not tool.is_active


def test_pages_write_with_csrf_only(sysadmin, web):
    assert web(sysadmin, csrf=True).post("/people", {"username": "li"}).status_code == 403
    assert not User.objects.filter(username="li").exists()


def test_forms_that_could_only_fail_are_not_shown(secadmin, sysadmin, engineer, nobody_yet, web):
    client = web(secadmin)
    shown = {name: text_of(client.get(f"/people/{name}")) for name in ("engineer", "sysadmin", "newcomer", "secadmin")}
    role, roles = "Set the system role", "Set the roles in a project"
    found = {name: (role in text, roles in text) for name, text in shown.items()}
    assert found == {
        "engineer": (False, True),
        "sysadmin": (True, False),
        "newcomer": (True, True),
        "secadmin": (False, False),
    }
