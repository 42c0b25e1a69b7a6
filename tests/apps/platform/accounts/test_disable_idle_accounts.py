from datetime import timedelta
from importlib import import_module

import pytest
from django.apps import apps
from django.utils import timezone

from apps.core.errors import Refused
from apps.platform.accounts.models import ApiToken, User
from apps.platform.accounts.services import disable_idle_accounts


@pytest.fixture
def age():
    """age(user, days, **columns): as if the account had been made so long ago."""

    def change(user, days, **columns):
        User.objects.filter(pk=user.pk).update(created_at=timezone.now() - timedelta(days=days), **columns)

    return change


def list_active() -> set[str]:
    return set(User.objects.filter(is_active=True).values_list("username", flat=True))


def test_unused_and_expired_accounts_end(engineer, viewer, approver, stranger, age, worker_actor, make_token, records):
    now = timezone.now()
    age(engineer, 91)  # never used
    age(viewer, 400, last_login=now - timedelta(days=89))
    age(approver, 400, last_login=now - timedelta(days=200), activated_at=now - timedelta(days=1))
    User.objects.filter(pk=stranger.pk).update(expires_at=now)
    assert disable_idle_accounts(actor=worker_actor) == 2
    assert list_active() == {"viewer", "approver"}
    assert {body["reason"] for body in records("user.disable")} == {
        "Its date has passed.",
        "Nobody has used it for 90 days.",
    }
    assert disable_idle_accounts(actor=worker_actor) == 0


def test_who_works_by_token_is_no_idle_account(engineer, age, worker_actor, make_token):
    age(engineer, 400)
    token = make_token(engineer)[1]
    ApiToken.objects.filter(pk=token.pk).update(last_used_at=timezone.now() - timedelta(days=2))
    assert disable_idle_accounts(actor=worker_actor) == 0


def test_the_last_administrator_of_a_kind_stays(sysadmin, age, worker_actor):
    other = User.objects.create(username="second", system_role="system_admin")
    age(sysadmin, 400)
    age(other, 400)
    assert disable_idle_accounts(actor=worker_actor) == 1
    assert list_active() == {"second"}


def test_zero_days_is_never(engineer, age, worker_actor, settings):
    settings.INACTIVE_DAYS = 0
    age(engineer, 4000)
    assert disable_idle_accounts(actor=worker_actor) == 0


def test_the_upgrade_is_the_first_day_of_disuse(engineer, age, worker_actor):
    age(engineer, 400, last_login=timezone.now() - timedelta(days=300))
    migration = import_module("apps.platform.accounts.migrations.0017_grace_for_unused_accounts")
    migration.start_counting_today(apps, None)
    assert disable_idle_accounts(actor=worker_actor) == 0
    User.objects.update(activated_at=timezone.now() - timedelta(days=91))
    assert disable_idle_accounts(actor=worker_actor) == 1


def test_only_housekeeping(sysadmin_actor, operator):
    for actor in (sysadmin_actor, operator):
        with pytest.raises(Refused):
            disable_idle_accounts(actor=actor)
