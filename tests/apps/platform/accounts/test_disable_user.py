import pytest
from allauth.usersessions.models import UserSession

from apps.core.errors import Conflict, Refused, Unauthenticated
from apps.platform.accounts.services import disable_user


def test_sessions_end_and_tokens_die(sysadmin_actor, engineer, web, make_token, records):
    page = web(engineer)
    assert page.get("/account").status_code == 200
    _, token = make_token(engineer)
    disable_user(actor=sysadmin_actor, user=engineer, reason="left")
    token.refresh_from_db()
    assert token.revoked_at is not None
    assert not UserSession.objects.filter(user=engineer).exists()
    assert page.get("/account").status_code == 302
    assert records("user.disable")[0]["after"] == {"is_active": False, "tokens_revoked": 1, "sessions_ended": 1}


@pytest.mark.parametrize("who", ["engineer", "secadmin", "auditor", "stranger"])
def test_only_the_system_administrator(who, request, viewer, actor_for):
    with pytest.raises(Refused):
        disable_user(actor=actor_for(request.getfixturevalue(who)), user=viewer)
    viewer.refresh_from_db()
    assert viewer.is_active


def test_not_oneself(sysadmin, sysadmin_actor):
    with pytest.raises(Refused) as caught:
        disable_user(actor=sysadmin_actor, user=sysadmin)
    assert caught.value.code == "own_account"


def test_already_disabled(sysadmin_actor, engineer):
    disable_user(actor=sysadmin_actor, user=engineer)
    with pytest.raises(Conflict) as caught:
        disable_user(actor=sysadmin_actor, user=engineer)
    assert caught.value.code == "already_disabled"


def test_nobody_is_asked_to_log_in(engineer):
    from apps.core.actors import ANONYMOUS

    with pytest.raises(Unauthenticated):
        disable_user(actor=ANONYMOUS, user=engineer)
