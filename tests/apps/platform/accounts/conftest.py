"""What the tests of accounts share: records by action, a service account, the actors of the administrators."""

from __future__ import annotations

import json

import pytest

from apps.core.actors import ProjectRole
from apps.platform.accounts.models import Membership, ServiceAccount
from apps.platform.audit.models import AuditRecord


@pytest.fixture
def records(db):
    """records(action) -> bodies of the audit records of this action, oldest first."""

    def of(action: str) -> list[dict]:
        rows = AuditRecord.objects.filter(action=action).order_by("pk").values_list("body", flat=True)
        return [json.loads(body) for body in rows]

    return of


@pytest.fixture
def tool(project) -> ServiceAccount:
    """A service account of the project, an engineer."""
    account = ServiceAccount.objects.create(project=project, name="loader")
    Membership.objects.create(project=project, service_account=account, role=ProjectRole.ENGINEER)
    return account


@pytest.fixture
def nobody_yet(db):
    """A person without any role."""
    from apps.platform.accounts.models import User

    return User.objects.create(username="newcomer", must_change_password=False)


@pytest.fixture
def sysadmin_actor(sysadmin, actor_for):
    return actor_for(sysadmin)


@pytest.fixture
def secadmin_actor(secadmin, actor_for):
    return actor_for(secadmin)
