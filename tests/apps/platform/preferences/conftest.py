"""What the tests of saved views share."""

from __future__ import annotations

import json

import pytest

from apps.platform.audit.models import AuditRecord
from apps.platform.preferences.services import save_view


@pytest.fixture
def records(db):
    """records(action) -> bodies of the audit records of this action, oldest first."""

    def of(action: str) -> list[dict]:
        rows = AuditRecord.objects.filter(action=action).order_by("pk").values_list("body", flat=True)
        return [json.loads(body) for body in rows]

    return of


@pytest.fixture
def keep(project, engineer, actor_for):
    """keep(name, ...) -> a view of the engineer's jobs."""

    def made(name: str = "Broken", **more):
        asked = {"listing": "jobs", "query": "state=failed", "project": project, **more}
        return save_view(actor=actor_for(engineer), name=name, **asked)

    return made
