"""What the tests of emergency access share: a request of the engineer for the plane, and its record."""

from __future__ import annotations

import json

import pytest

from apps.platform.accounts.models import User
from apps.platform.audit.models import AuditRecord
from apps.platform.emergency.services import confirm_grant, request_grant


@pytest.fixture
def request_access(actor_for):
    """request_access(user, project=None, role="system_admin", hours=2) -> the request."""

    def ask(user, project=None, role="system_admin", hours=2):
        return request_grant(
            actor=actor_for(user), project=project, role=role, reason="the furnace is down", hours=hours
        )

    return ask


@pytest.fixture
def lend(request_access, actor_for, secadmin):
    """lend(user, ...) -> a grant in force, which the security administrator has confirmed."""

    def grant(user, *args, **kwargs):
        confirmed = confirm_grant(actor=actor_for(secadmin), grant=request_access(user, *args, **kwargs))
        user.refresh_from_db()
        return confirmed

    return grant


@pytest.fixture
def read_records(db):
    """read_records(action) -> the bodies of its records, oldest first."""

    def read(action):
        rows = AuditRecord.objects.filter(action=action).order_by("pk").values_list("body", flat=True)
        return [json.loads(body) for body in rows]

    return read


@pytest.fixture
def nobody_yet(db):
    """A person without any role."""
    return User.objects.create(username="newcomer", must_change_password=False)
