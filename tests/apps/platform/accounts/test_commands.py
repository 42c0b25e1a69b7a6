import json
from io import StringIO

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError

from apps.core.canonical import sha256_hex
from apps.platform.accounts.actors import build_actor_for_token
from apps.platform.accounts.models import ApiToken, Membership, Project, User
from apps.platform.accounts.row_operations import get_member_roles
from apps.platform.audit.models import AuditRecord


def run(*args: str) -> str:
    out = StringIO()
    call_command(*args, stdout=out)
    return out.getvalue().strip()


def fail(*args: str) -> str:
    """The error text of a command that ends with status 2."""
    err = StringIO()
    with pytest.raises(SystemExit) as caught:
        call_command(*args, stdout=StringIO(), stderr=err)
    assert caught.value.code == 2
    return err.getvalue()


def test_create_token_prints_the_token_alone(engineer):
    secret = run("create_token", "engineer", "--project", "demo", "--scopes", "read,jobs:write", "--days", "2")
    token = ApiToken.objects.get(digest=sha256_hex(secret))
    assert (token.user, token.scopes) == (engineer, ["jobs:write", "read"])
    assert AuditRecord.objects.get(action="token.create").actor == "operator"


def test_create_token_of_a_service_account(tool):
    secret = run("create_token", "loader", "--project", "demo", "--scopes", "data:write")
    assert build_actor_for_token(ApiToken.objects.get(digest=sha256_hex(secret))).label == "loader"


@pytest.mark.parametrize(
    ("args", "field"),
    [
        (["nobody", "--project", "demo", "--scopes", "read"], "user"),
        (["engineer", "--project", "none", "--scopes", "read"], "--project"),
        (["engineer", "--project", "demo", "--scopes", "root"], "/scopes"),
        (["engineer", "--project", "demo", "--scopes", "read", "--days", "0"], "/days"),
        (["engineer", "--project", "demo", "--scopes", "read", "--name", " "], "/name"),
    ],
)
def test_create_token_names_what_is_wrong(engineer, args, field):
    assert fail("create_token", *args).startswith(f"{field}: ")


def test_first_accounts_can_log_in_and_are_made_once(db):
    made = json.loads(run("create_first_accounts", "--json"))
    assert sorted(made) == ["approver", "auditor", "engineer", "secadmin", "sysadmin"]
    for username, password in made.items():
        user = User.objects.get(username=username)
        assert user.check_password(password)
        assert user.must_change_password
        assert bool(user.system_role) != user.memberships.exists()
    assert json.loads(run("create_first_accounts", "--json")) == {}
    assert "nothing was made" in run("create_first_accounts")


def test_first_accounts_leave_what_exists(project, nobody_yet):
    User.objects.filter(pk=nobody_yet.pk).update(username="SysAdmin")
    made = json.loads(run("create_first_accounts", "--json"))
    assert "sysadmin" not in made
    assert User.objects.get(pk=nobody_yet.pk).system_role == ""
    assert Project.objects.count() == 1


def test_create_user_with_a_role(db):
    password = run("create_user", "root2", "--system-role", "security_admin")
    user = User.objects.get(username="root2")
    assert (user.check_password(password), user.system_role) == (True, "security_admin")


def test_create_user_all_or_nothing(db):
    assert fail("create_user", "root2", "--system-role", "root").startswith("/system_role: ")
    assert not User.objects.exists()


def test_create_project(db):
    assert run("create_project", "oil") == "oil"
    assert fail("create_project", "oil").startswith("/slug: ")


def test_set_roles(project, nobody_yet):
    run("set_roles", "newcomer", "--project", "demo", "--roles", "viewer,engineer")
    assert get_member_roles(project, nobody_yet) == {"viewer", "engineer"}
    run("set_roles", "newcomer", "--project", "demo", "--roles", "")
    assert not Membership.objects.exists()
    run("set_roles", "newcomer", "--system-role", "auditor")
    nobody_yet.refresh_from_db()
    assert nobody_yet.system_role == "auditor"


@pytest.mark.parametrize(
    "args",
    [
        [],
        ["--project", "demo"],
        ["--roles", "viewer"],
        ["--project", "demo", "--roles", "viewer", "--system-role", "auditor"],
    ],
)
def test_set_roles_of_what(project, nobody_yet, args):
    with pytest.raises(CommandError):
        run("set_roles", "newcomer", *args)


def test_reset_password(secadmin):
    password = run("reset_password", "SECADMIN")
    secadmin.refresh_from_db()
    assert secadmin.check_password(password)
    assert fail("reset_password", "nobody").startswith("user: ")
