"""What an upgrade knows of the tokens and service accounts that are there."""

from __future__ import annotations

from importlib import import_module
from io import StringIO

import django.apps
import pytest
from django.core.management import call_command
from django.utils import timezone

from apps.core.errors import Refused
from apps.platform.accounts.actors import build_actor_for_token
from apps.platform.accounts.confirmations import is_first_installation, is_unconfirmed, require_confirmed
from apps.platform.accounts.models import ApiToken, ChangeKind, CredentialChange, HolderKind, ServiceAccountHolder, User
from apps.platform.accounts.services import (
    create_service_account,
    create_token,
    create_token_for_service_account,
    create_user,
    reset_password,
    set_system_role,
)

pytestmark = pytest.mark.services


def migrate(name: str, *functions: str) -> None:
    for function in functions:
        getattr(import_module(f"apps.platform.accounts.migrations.{name}"), function)(django.apps.apps, None)


def upgrade() -> None:
    """What the plane has is from before the upgrade."""
    CredentialChange.objects.all().delete()
    migrate("0010_changes_before_the_upgrade", "note_security_administrators", "note_one_time_passwords")


def test_the_trail_names_who_created_them(secadmin_actor, secadmin, engineer, operator, actor_for, make_token, project):
    account = create_service_account(actor=secadmin_actor, project=project, name="robot", roles=["engineer"])
    token, _ = create_token_for_service_account(actor=secadmin_actor, account=account, name="t", scopes=["read"])
    own, _ = create_token(actor=actor_for(engineer), project=project, name="t", scopes=["read"])
    given, _ = create_token(actor=operator, project=project, name="t", scopes=["read"], user=engineer)
    unrecorded = make_token(engineer, created_by=None)[1]
    unknown = make_token(None, project, ["read"], service_account=account)[1]
    ApiToken.objects.update(created_by=None)
    ServiceAccountHolder.objects.all().delete()
    migrate("0006_token_creators", "note_creators")
    migrate("0008_known_holders", "note_holders")
    creators = dict(ApiToken.objects.values_list("pk", "created_by"))
    assert creators == {
        token.pk: secadmin.pk,
        own.pk: engineer.pk,
        given.pk: None,
        unrecorded.pk: None,
        unknown.pk: None,
    }
    assert set(ServiceAccountHolder.objects.values_list("user", "kind")) == {
        (secadmin.pk, HolderKind.CREATED_ACCOUNT),
        (secadmin.pk, HolderKind.CREATED_TOKEN),
    }


# -- what the upgrade knows of accounts -----------------------------------------------------------------------------
def test_the_operator_installs_no_upgraded_plane_anew(secadmin, approver, operator):
    upgrade()
    assert not CredentialChange.objects.filter(confirmed_at=None).exists()
    set_system_role(actor=operator, user=secadmin, system_role="")
    assert not is_first_installation(operator)
    late, _ = create_user(actor=operator, username="late")
    set_system_role(actor=operator, user=late, system_role="security_admin")
    assert is_unconfirmed(late.pk)


def test_a_one_time_password_of_before_waits(sysadmin_actor, sysadmin, secadmin, approver, engineer):
    reset_password(actor=sysadmin_actor, user=approver)
    create_user(actor=sysadmin_actor, username="new")
    User.objects.create(username="older-than-the-trail", must_change_password=True)
    upgrade()
    found = (
        CredentialChange.objects.filter(confirmed_at=None)
        .order_by("user")
        .values_list("user__username", "kind", "by", "by_label")
    )
    assert list(found) == [
        ("approver", ChangeKind.PASSWORD, sysadmin.pk, "sysadmin"),
        ("new", ChangeKind.CREATED, sysadmin.pk, "sysadmin"),
        ("older-than-the-trail", ChangeKind.PASSWORD, None, "an administrator"),
    ]
    count = CredentialChange.objects.count()
    migrate("0010_changes_before_the_upgrade", "note_security_administrators", "note_one_time_passwords")
    assert CredentialChange.objects.count() == count


def test_the_operators_token_of_such_an_account_decides_nothing(operator, secadmin, approver, project, make_token):
    reset_password(actor=operator, user=approver)
    token = make_token(approver, created_by=None)[1]
    upgrade()
    with pytest.raises(Refused) as caught:
        require_confirmed(build_actor_for_token(token), "approval.decide")
    assert caught.value.code == "credentials_unconfirmed"


def test_a_reset_security_administrator_was_one_before(operator, secadmin, approver):
    """Or a reset of the only one, just before the upgrade, would leave every other reset confirmed."""
    User.objects.filter(pk=secadmin.pk).update(password_changed_at=timezone.now())
    for user in (secadmin, approver):
        reset_password(actor=operator, user=user)
    upgrade()
    assert is_unconfirmed(secadmin.pk)
    assert is_unconfirmed(approver.pk)


def test_first_accounts_that_nobody_has_taken_over_go_on(db):
    call_command("create_first_accounts", stdout=StringIO())
    upgrade()
    assert not CredentialChange.objects.filter(confirmed_at=None).exists()
