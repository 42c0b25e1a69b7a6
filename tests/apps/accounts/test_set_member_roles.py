import pytest

from apps.accounts.rows import roles_held
from apps.accounts.services import set_member_roles
from apps.errors import Conflict, Invalid, NotFound, Refused


def test_roles_are_replaced(secadmin_actor, project, engineer, records):
    set_member_roles(actor=secadmin_actor, project=project, member=engineer, roles=["viewer", "approver"])
    assert roles_held(project, engineer) == {"viewer", "approver"}
    (body,) = records("member.set_roles")
    assert (body["before"], body["after"]) == ({"roles": ["engineer"]}, {"roles": ["approver", "viewer"]})
    assert body["project"] == project.pk


def test_a_newcomer_becomes_a_member(operator, project, nobody_yet):
    set_member_roles(actor=operator, project=project, member=nobody_yet, roles=["engineer"])
    assert roles_held(project, nobody_yet) == {"engineer"}


@pytest.mark.parametrize(
    ("who", "refusal"),
    [("engineer", Refused), ("approver", Refused), ("sysadmin", Refused), ("auditor", Refused), ("stranger", NotFound)],
)
def test_only_the_security_administrator(who, refusal, request, project, nobody_yet, actor_for):
    with pytest.raises(refusal):
        set_member_roles(
            actor=actor_for(request.getfixturevalue(who)), project=project, member=nobody_yet, roles=["engineer"]
        )
    assert roles_held(project, nobody_yet) == frozenset()


@pytest.mark.parametrize("who", ["sysadmin", "secadmin", "auditor"])
def test_administrators_work_in_no_project(who, request, operator, project):
    with pytest.raises(Conflict) as caught:
        set_member_roles(actor=operator, project=project, member=request.getfixturevalue(who), roles=["viewer"])
    assert caught.value.code == "has_system_role"


@pytest.mark.parametrize(("roles", "code"), [([], "roles_missing"), (["owner"], "unknown_role")])
def test_bad_roles(secadmin_actor, project, engineer, roles, code):
    with pytest.raises(Invalid) as caught:
        set_member_roles(actor=secadmin_actor, project=project, member=engineer, roles=roles)
    assert (caught.value.code, caught.value.field) == (code, "/roles")


def test_nothing_to_change(secadmin_actor, project, engineer):
    with pytest.raises(Conflict) as caught:
        set_member_roles(actor=secadmin_actor, project=project, member=engineer, roles=["engineer"])
    assert caught.value.code == "nothing_to_change"


def test_a_tool_never_approves(secadmin_actor, project, tool):
    with pytest.raises(Invalid) as caught:
        set_member_roles(actor=secadmin_actor, project=project, member=tool, roles=["approver"])
    assert caught.value.code == "not_a_person"


def test_a_tool_stays_in_its_project(secadmin_actor, other_project, tool):
    with pytest.raises(NotFound):
        set_member_roles(actor=secadmin_actor, project=other_project, member=tool, roles=["viewer"])
