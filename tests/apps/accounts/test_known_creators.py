"""What an upgrade knows of the tokens and service accounts that are there."""

from __future__ import annotations

from importlib import import_module

import django.apps
import pytest

from apps.accounts.models import ApiToken, HolderKind, ServiceAccountHolder
from apps.accounts.services import create_service_account, create_token_for_service_account

pytestmark = pytest.mark.services


def test_the_trail_names_who_created_them(secadmin_actor, secadmin, engineer, make_token, project):
    account = create_service_account(actor=secadmin_actor, project=project, name="robot", roles=["engineer"])
    token, _ = create_token_for_service_account(actor=secadmin_actor, account=account, name="t", scopes=["read"])
    own = make_token(engineer, created_by=None)[1]
    unknown = make_token(None, project, ["read"], service_account=account)[1]
    ApiToken.objects.update(created_by=None)
    ServiceAccountHolder.objects.all().delete()
    for name, function in (("0006_token_creators", "note_creators"), ("0008_known_holders", "note_holders")):
        getattr(import_module(f"apps.accounts.migrations.{name}"), function)(django.apps.apps, None)
    creators = dict(ApiToken.objects.values_list("pk", "created_by"))
    assert creators == {token.pk: secadmin.pk, own.pk: engineer.pk, unknown.pk: None}
    assert set(ServiceAccountHolder.objects.values_list("user", "kind")) == {
        (secadmin.pk, HolderKind.CREATED_ACCOUNT),
        (secadmin.pk, HolderKind.CREATED_TOKEN),
    }
