import pytest

from apps.core.errors import Conflict, Invalid, Refused
from apps.platform.accounts.services import disable_user, set_system_role


def test_give_and_take(secadmin_actor, nobody_yet, records):
    set_system_role(actor=secadmin_actor, user=nobody_yet, system_role="auditor", reason="stands in")
    nobody_yet.refresh_from_db()
    assert nobody_yet.system_role == "auditor"
    set_system_role(actor=secadmin_actor, user=nobody_yet, system_role="")
    nobody_yet.refresh_from_db()
    assert nobody_yet.system_role == ""
    first, second = records("user.set_system_role")
    assert (first["before"]["system_role"], first["after"]["system_role"], first["reason"]) == (
        "",
        "auditor",
        "stands in",
    )
    assert second["before"]["system_role"] == "auditor"


@pytest.mark.parametrize("who", ["engineer", "approver", "sysadmin", "auditor"])
def test_only_the_security_administrator(who, request, nobody_yet, actor_for):
    with pytest.raises(Refused):
        set_system_role(actor=actor_for(request.getfixturevalue(who)), user=nobody_yet, system_role="auditor")


@pytest.mark.parametrize("role", ["", "system_admin"])
def test_not_ones_own(secadmin, secadmin_actor, role):
    with pytest.raises(Refused) as caught:
        set_system_role(actor=secadmin_actor, user=secadmin, system_role=role)
    assert caught.value.code == "own_account"


def test_no_administrator_with_project_roles(secadmin_actor, viewer):
    with pytest.raises(Conflict) as caught:
        set_system_role(actor=secadmin_actor, user=viewer, system_role="auditor")
    assert caught.value.code == "has_project_roles"


def test_unknown_role(secadmin_actor, nobody_yet):
    with pytest.raises(Invalid) as caught:
        set_system_role(actor=secadmin_actor, user=nobody_yet, system_role="root")
    assert (caught.value.field, caught.value.code) == ("/system_role", "unknown_role")


def test_nothing_to_change(secadmin_actor, auditor):
    with pytest.raises(Conflict) as caught:
        set_system_role(actor=secadmin_actor, user=auditor, system_role="auditor")
    assert caught.value.code == "nothing_to_change"


def test_not_for_the_disabled(secadmin_actor, sysadmin_actor, nobody_yet):
    disable_user(actor=sysadmin_actor, user=nobody_yet)
    with pytest.raises(Conflict) as caught:
        set_system_role(actor=secadmin_actor, user=nobody_yet, system_role="auditor")
    assert caught.value.code == "account_disabled"


def test_an_auditors_tokens_go_with_the_role(secadmin_actor, auditor, project, make_token):
    _, token = make_token(auditor, project, ["audit:read"])
    set_system_role(actor=secadmin_actor, user=auditor, system_role="")
    token.refresh_from_db()
    assert token.revoked_at is not None
