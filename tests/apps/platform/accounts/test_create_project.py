import pytest

from apps.core.errors import Conflict, Invalid, Refused
from apps.platform.accounts.services import create_project


def test_an_empty_project(sysadmin_actor, records):
    project = create_project(actor=sysadmin_actor, slug="oil", name="Oil")
    assert project.memberships.count() == 0
    assert records("project.create")[0]["project"] == project.pk


@pytest.mark.parametrize("who", ["engineer", "approver", "secadmin", "auditor"])
def test_only_the_system_administrator(who, request, actor_for):
    with pytest.raises(Refused):
        create_project(actor=actor_for(request.getfixturevalue(who)), slug="oil")


@pytest.mark.parametrize("slug", ["", "Oil", "a b", "-a", "x" * 51, "a/b", "oil\n"])
def test_bad_slug(sysadmin_actor, slug):
    with pytest.raises(Invalid) as caught:
        create_project(actor=sysadmin_actor, slug=slug)
    assert caught.value.field == "/slug"


def test_taken(sysadmin_actor, project):
    with pytest.raises(Conflict) as caught:
        create_project(actor=sysadmin_actor, slug="demo")
    assert caught.value.code == "name_taken"
