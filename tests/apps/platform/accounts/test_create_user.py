import pytest

from apps.core.errors import Conflict, Invalid, Refused
from apps.platform.accounts.models import User
from apps.platform.accounts.services import create_user


def test_the_one_time_password_works_and_must_be_replaced(sysadmin_actor, records):
    user, password = create_user(actor=sysadmin_actor, username="li.chen", name="Chen Li")
    user.refresh_from_db()
    assert user.check_password(password)
    assert user.must_change_password
    assert (user.system_role, user.memberships.count()) == ("", 0)
    (body,) = records("user.create")
    assert body["actor"]["label"] == "sysadmin"
    assert password not in str(body)


@pytest.mark.parametrize("who", ["engineer", "approver", "secadmin", "auditor"])
def test_only_the_system_administrator(who, request, actor_for):
    with pytest.raises(Refused):
        create_user(actor=actor_for(request.getfixturevalue(who)), username="new")
    assert not User.objects.filter(username="new").exists()


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"username": ""}, "/username"),
        ({"username": "a b"}, "/username"),
        ({"username": "x" * 81}, "/username"),
        ({"username": "new", "email": "no"}, "/email"),
        ({"username": "new", "name": "n" * 121}, "/name"),
        ({"username": "worker@gpu-01"}, "/username"),
        ({"username": "Operator"}, "/username"),
        ({"username": "\u0435ngineer"}, "/username"),  # Cyrillic, looks like "engineer"
        ({"username": "\uff45ngineer"}, "/username"),  # full width
        ({"username": "\u017fecadmin"}, "/username"),  # a long s: PostgreSQL's UPPER makes it an S
        ({"username": "new\n"}, "/username"),
        ({"username": "new", "name": "Li\u202e"}, "/name"),
        ({"username": "new", "name": "a\nb"}, "/name"),
    ],
)
def test_bad_values_name_their_field(sysadmin_actor, given, field):
    with pytest.raises(Invalid) as caught:
        create_user(actor=sysadmin_actor, **given)
    assert caught.value.field == field


def test_a_chinese_name(sysadmin_actor):
    assert create_user(actor=sysadmin_actor, username="\u674e\u96f72")[0].pk


@pytest.mark.parametrize("username", ["engineer", "ENGINEER", "loader"])
def test_a_name_in_use_whatever_its_case(sysadmin_actor, engineer, tool, username):
    with pytest.raises(Conflict) as caught:
        create_user(actor=sysadmin_actor, username=username)
    assert caught.value.code == "name_taken"


def test_all_errors_at_once(sysadmin_actor):
    with pytest.raises(Invalid) as caught:
        create_user(actor=sysadmin_actor, username="a b", email="no")
    assert {error["field"] for error in caught.value.errors} == {"/username", "/email"}
