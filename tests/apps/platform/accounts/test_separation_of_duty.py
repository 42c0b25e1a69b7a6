"""Nobody is two administrators: the database refuses it to whoever writes the row, and no flag passes the policy."""

from __future__ import annotations

import pytest
from django.apps import apps
from django.conf import settings
from django.db import IntegrityError, connection, transaction
from rest_framework.test import APIRequestFactory

from apps.core import policy
from apps.core.actors import Actor, ProjectRole
from apps.platform.accounts.actors import build_actor_for_token, build_actor_for_user
from apps.platform.accounts.bearer_lookup import get_bearer
from apps.platform.accounts.models import CredentialChange, Membership, User

pytestmark = [pytest.mark.django_db, pytest.mark.services]


def run_sql(statement: str, *params: object) -> bool:
    """Whether the database took the statement."""
    try:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(statement, params)
    except IntegrityError:
        return False
    return True


def test_no_statement_makes_one_person_two_administrators(sysadmin):
    update = "UPDATE accounts_user SET system_role = %s WHERE id = %s"
    taken = {
        role: run_sql(update, role, sysadmin.pk)
        for role in ("sysadmin,auditor", "auditor secadmin", "superuser", "AUDITOR", "auditor")
    }
    assert taken == {
        "sysadmin,auditor": False,
        "auditor secadmin": False,
        "superuser": False,
        "AUDITOR": False,
        "auditor": True,  # one instead of the other
    }
    with pytest.raises(IntegrityError), transaction.atomic():
        User.objects.filter(pk=sysadmin.pk).update(system_role="secadmin+auditor")


def test_no_statement_confirms_credentials_by_who_set_them(secadmin, approver):
    change = CredentialChange.objects.create(
        user=approver, kind="password", by=secadmin, by_label="secadmin", by_role="system_admin"
    )
    update = "UPDATE accounts_credentialchange SET confirmed_by_id = %s WHERE id = %s"
    assert not run_sql(update, secadmin.pk, change.pk)


def test_an_administrator_has_no_role_in_a_project_whatever_the_table_says(auditor, project, make_token):
    secret, token = make_token(auditor, project, ["audit:read", "read"])
    Membership.objects.create(project=project, user=auditor, role=ProjectRole.APPROVER)
    request = APIRequestFactory().get("/", HTTP_AUTHORIZATION=f"Bearer {secret}")
    actors = [build_actor_for_user(auditor), build_actor_for_token(token), get_bearer(request)[0]]
    assert [dict(actor.project_roles) for actor in actors] == [{}, {}, {}]
    assert not any(policy.is_allowed(actor, "approval.decide", project) for actor in actors)


def test_there_is_no_superuser(project, nobody_yet):
    columns = {field.name for field in User._meta.get_fields()}
    assert not columns & {"is_superuser", "is_staff", "groups", "user_permissions"}
    assert not hasattr(nobody_yet, "has_perm")
    assert not apps.is_installed("django.contrib.admin")
    nobody_yet.is_superuser = nobody_yet.is_staff = True
    actor = build_actor_for_user(nobody_yet)
    allowed = [action for action in policy.ACTIONS if policy.is_allowed(actor, action, project)]
    assert (allowed, hasattr(actor, "is_superuser")) == ([], False)
    assert not any("Backend" in each and "ModelBackend" in each for each in settings.AUTHENTICATION_BACKENDS)


def test_each_administrator_has_duties_of_their_own():
    """GB/T 22239-2019, 8.1.5.1 to 8.1.5.3: what one of the three may set, the two others may not."""
    duties = {
        policy.SYSTEM_ADMIN: ("user.create", "user.disable", "user.reset_password", "project.create", "node.hold",
                              "node.issue_token", "snapshot.create", "plane.restore_drill", "artifact.collect"),
        policy.AUDITOR: ("audit.view", "audit.verify", "audit.export", "hold.place", "hold.release"),
        policy.SECURITY_ADMIN: ("user.set_system_role", "member.set_roles", "approval.set_policy",
                                "isolation.set_policy", "service_account.create", "webhook.configure"),
    }  # fmt: skip
    administrators = frozenset(duties)
    shared = {
        action: sorted(policy.ACTIONS[action] & administrators)
        for role, actions in duties.items()
        for action in actions
        if policy.ACTIONS[action] & administrators != {role}
    }
    assert shared == {}
    alone = Actor(kind="user", system_role=policy.SYSTEM_ADMIN)
    assert not policy.is_allowed(alone, "audit.view")
