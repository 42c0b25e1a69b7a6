import pytest

from apps.core.errors import Conflict, Invalid, NotFound, Refused
from apps.platform.accounts.models import ServiceAccount
from apps.platform.accounts.row_operations import get_member_roles
from apps.platform.accounts.services import create_service_account


def test_with_its_roles(secadmin_actor, secadmin, project, records):
    account = create_service_account(actor=secadmin_actor, project=project, name="loader", roles=["engineer"])
    assert get_member_roles(project, account) == {"engineer"}
    assert account.created_by == secadmin
    assert records("service_account.create")[0]["project"] == project.pk


@pytest.mark.parametrize(
    ("who", "refusal"), [("engineer", Refused), ("sysadmin", Refused), ("auditor", Refused), ("stranger", NotFound)]
)
def test_only_the_security_administrator(who, refusal, request, project, actor_for):
    with pytest.raises(refusal):
        create_service_account(
            actor=actor_for(request.getfixturevalue(who)), project=project, name="loader", roles=["viewer"]
        )
    assert not ServiceAccount.objects.exists()


@pytest.mark.parametrize(
    ("name", "roles", "code"),
    [
        ("Loader", ["viewer"], "invalid"),
        ("", ["viewer"], "invalid"),
        ("worker", ["viewer"], "name_reserved"),
        ("loader", [], "roles_missing"),
        ("loader", ["approver"], "not_a_person"),
        ("loader", ["root"], "unknown_role"),
    ],
)
def test_bad_values(secadmin_actor, project, name, roles, code):
    with pytest.raises(Invalid) as caught:
        create_service_account(actor=secadmin_actor, project=project, name=name, roles=roles)
    assert caught.value.code == code


@pytest.mark.parametrize("name", ["loader", "engineer"])
def test_taken_by_a_tool_or_a_person(secadmin_actor, project, tool, engineer, name):
    with pytest.raises(Conflict) as caught:
        create_service_account(actor=secadmin_actor, project=project, name=name, roles=["viewer"])
    assert caught.value.code == "name_taken"
