import pytest

from apps.core.errors import Conflict, Invalid, NotFound, Refused
from apps.platform.accounts import services
from apps.platform.accounts.row_operations import get_member_roles
from apps.platform.accounts.services import set_member_roles
from apps.platform.audit.models import AuditRecord


def test_roles_are_replaced(secadmin_actor, project, engineer, records):
    set_member_roles(actor=secadmin_actor, project=project, member=engineer, roles=["viewer", "approver"])
    assert get_member_roles(project, engineer) == {"viewer", "approver"}
    (body,) = records("member.set_roles")
    assert (body["before"], body["after"]) == ({"roles": ["engineer"]}, {"roles": ["approver", "viewer"]})
    assert body["project"] == project.pk


def test_a_newcomer_becomes_a_member(operator, project, nobody_yet):
    set_member_roles(actor=operator, project=project, member=nobody_yet, roles=["engineer"])
    assert get_member_roles(project, nobody_yet) == {"engineer"}


@pytest.mark.parametrize(
    ("who", "refusal"),
    [("engineer", Refused), ("approver", Refused), ("sysadmin", Refused), ("auditor", Refused), ("stranger", NotFound)],
)
def test_only_the_security_administrator(who, refusal, request, project, nobody_yet, actor_for):
    with pytest.raises(refusal):
        set_member_roles(
            actor=actor_for(request.getfixturevalue(who)), project=project, member=nobody_yet, roles=["engineer"]
        )
    assert get_member_roles(project, nobody_yet) == frozenset()


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


def test_changes_of_accounts_are_sealed_at_commit(
    operator,
    secadmin_actor,
    project,
    engineer,
    viewer,
    nobody_yet,
    tool,
    make_token,
    django_capture_on_commit_callbacks,
):
    _secret, token = make_token(engineer)
    about, by_operator = {"actor": secadmin_actor}, {"actor": operator}
    changes = {
        "member.set_roles": lambda: services.set_member_roles(
            project=project, member=engineer, roles=["viewer"], **about
        ),
        "member.remove": lambda: services.remove_member(project=project, member=viewer, **about),
        "user.set_system_role": lambda: services.set_system_role(user=nobody_yet, system_role="auditor", **by_operator),
        "user.disable": lambda: services.disable_user(user=nobody_yet, **by_operator),
        "user.enable": lambda: services.enable_user(user=nobody_yet, **by_operator),
        "service_account.create": lambda: services.create_service_account(
            project=project, name="new", roles=["engineer"], **about
        ),
        "service_account.disable": lambda: services.disable_service_account(account=tool, **about),
        "token.revoke": lambda: services.revoke_token(token=token, **about),
    }
    sealed = {}
    for action, change in changes.items():
        with django_capture_on_commit_callbacks(execute=True):
            change()
        sealed[action] = AuditRecord.objects.get(action=action).seq is not None
    assert sealed == dict.fromkeys(changes, True)
