import pytest

from apps.core.errors import Conflict, Refused
from apps.platform.accounts.services import disable_user, enable_user


def test_the_person_is_back_without_the_old_tokens(sysadmin_actor, engineer, make_token, records):
    _, token = make_token(engineer)
    disable_user(actor=sysadmin_actor, user=engineer)
    enable_user(actor=sysadmin_actor, user=engineer)
    engineer.refresh_from_db()
    token.refresh_from_db()
    assert engineer.is_active
    assert token.revoked_at is not None
    assert len(records("user.enable")) == 1


@pytest.mark.parametrize("who", ["engineer", "secadmin", "auditor"])
def test_only_the_system_administrator(who, request, sysadmin_actor, viewer, actor_for):
    disable_user(actor=sysadmin_actor, user=viewer)
    with pytest.raises(Refused):
        enable_user(actor=actor_for(request.getfixturevalue(who)), user=viewer)


def test_already_enabled(sysadmin_actor, engineer):
    with pytest.raises(Conflict) as caught:
        enable_user(actor=sysadmin_actor, user=engineer)
    assert caught.value.code == "already_enabled"
