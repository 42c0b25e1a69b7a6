import io
from types import SimpleNamespace

import pytest
from allauth.mfa.models import Authenticator
from django.core.management import CommandError, call_command

from apps.core.errors import Conflict, Refused
from apps.platform.accounts.management.commands import show_code
from apps.platform.accounts.services import set_up_second_factor


@pytest.fixture
def first(approver):
    approver.must_change_password = True
    approver.save()
    return approver


def test_a_first_account_gets_an_app_by_command(first, records, code, monkeypatch):
    printed, shown = io.StringIO(), io.StringIO()
    call_command("set_up_second_factor", first.username, stdout=printed)
    secret = printed.getvalue().strip()
    assert secret not in str(records("user.set_up_second_factor"))
    assert Authenticator.objects.filter(user=first).count() == 2
    monkeypatch.setattr(show_code, "sys", SimpleNamespace(stdin=io.StringIO(secret)))
    call_command("show_code", stdout=shown, stderr=io.StringIO())
    assert shown.getvalue().strip() == code(secret)


@pytest.mark.parametrize("text", ["", "not base 32!"])
def test_no_secret_no_code(text, monkeypatch):
    monkeypatch.setattr(show_code, "sys", SimpleNamespace(stdin=io.StringIO(text)))
    with pytest.raises(CommandError) as failure:
        call_command("show_code")
    assert failure.value.returncode == 2


def test_only_the_operator(first, sysadmin_actor, secadmin_actor):
    for actor in (sysadmin_actor, secadmin_actor):
        with pytest.raises(Refused):
            set_up_second_factor(actor=actor, user=first)


def test_not_of_a_person_who_has_logged_in_and_not_twice(first, operator, engineer):
    with pytest.raises(Conflict) as refusal:
        set_up_second_factor(actor=operator, user=engineer)
    assert refusal.value.code == "not_a_first_account"
    set_up_second_factor(actor=operator, user=first)
    with pytest.raises(Conflict) as refusal:
        set_up_second_factor(actor=operator, user=first)
    assert refusal.value.code == "second_factor_exists"
