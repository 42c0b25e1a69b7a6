import pytest

from apps.core.errors import NotFound, Refused
from apps.platform.accounts.row_operations import get_member_roles
from apps.platform.accounts.services import remove_member


def test_roles_and_tokens_of_this_project_go(secadmin_actor, project, engineer, make_token, records):
    _, token = make_token(engineer)
    remove_member(actor=secadmin_actor, project=project, member=engineer, reason="moved")
    token.refresh_from_db()
    assert get_member_roles(project, engineer) == frozenset()
    assert token.revoked_at is not None
    assert records("member.remove")[0]["before"] == {"roles": ["engineer"]}


def test_another_project_is_untouched(secadmin_actor, project, other_project, engineer, stranger, make_token):
    _, token = make_token(stranger)
    remove_member(actor=secadmin_actor, project=project, member=engineer)
    token.refresh_from_db()
    assert token.revoked_at is None
    assert get_member_roles(other_project, stranger)


@pytest.mark.parametrize(
    ("who", "refusal"), [("approver", Refused), ("sysadmin", Refused), ("auditor", Refused), ("stranger", NotFound)]
)
def test_only_the_security_administrator(who, refusal, request, project, engineer, actor_for):
    with pytest.raises(refusal):
        remove_member(actor=actor_for(request.getfixturevalue(who)), project=project, member=engineer)
    assert get_member_roles(project, engineer)


def test_no_member(secadmin_actor, project, stranger):
    with pytest.raises(NotFound):
        remove_member(actor=secadmin_actor, project=project, member=stranger)
