import pytest

from apps.core.errors import Invalid, Refused
from apps.platform.accounts.services import rename_oneself


def test_the_name_changes_and_the_user_name_does_not(engineer, actor_for, records):
    rename_oneself(actor=actor_for(engineer), name=" 陈立 ")
    engineer.refresh_from_db()
    assert (engineer.name, engineer.username) == ("陈立", "engineer")
    assert records("user.rename_oneself")[0]["before"] == {"name": "Engineer"}


def test_the_same_name_leaves_no_record(engineer, actor_for, records):
    rename_oneself(actor=actor_for(engineer), name="Engineer")
    assert records("user.rename_oneself") == []


def test_too_long(engineer, actor_for):
    with pytest.raises(Invalid) as caught:
        rename_oneself(actor=actor_for(engineer), name="n" * 121)
    assert caught.value.field == "/name"


def test_no_person_no_name(worker_actor):
    with pytest.raises(Refused):
        rename_oneself(actor=worker_actor, name="x")
