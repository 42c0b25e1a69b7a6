import pytest

from apps.core.errors import Conflict, Refused
from apps.platform.accounts.services import disable_user, reset_password


def test_a_new_one_time_password_and_no_session(sysadmin_actor, engineer, web, password, records):
    page = web(engineer)
    fresh = reset_password(actor=sysadmin_actor, user=engineer)
    engineer.refresh_from_db()
    assert engineer.check_password(fresh)
    assert not engineer.check_password(password)
    assert engineer.must_change_password
    assert page.get("/account").status_code == 302
    assert fresh not in str(records("user.reset_password"))


@pytest.mark.parametrize("who", ["engineer", "secadmin", "auditor"])
def test_only_the_system_administrator(who, request, viewer, actor_for):
    with pytest.raises(Refused):
        reset_password(actor=actor_for(request.getfixturevalue(who)), user=viewer)


@pytest.mark.parametrize("who", ["sysadmin", "secadmin", "auditor"])
def test_no_administrator_takes_over_another_or_skips_the_rules(who, request, sysadmin_actor, password):
    user = request.getfixturevalue(who)
    with pytest.raises(Refused):
        reset_password(actor=sysadmin_actor, user=user)
    user.refresh_from_db()
    assert user.check_password(password)


def test_the_operator_resets_an_administrators(operator, secadmin):
    fresh = reset_password(actor=operator, user=secadmin)
    secadmin.refresh_from_db()
    assert secadmin.check_password(fresh)


def test_a_disabled_account_stays_shut(sysadmin_actor, engineer):
    disable_user(actor=sysadmin_actor, user=engineer)
    with pytest.raises(Conflict) as caught:
        reset_password(actor=sysadmin_actor, user=engineer)
    assert caught.value.code == "account_disabled"
