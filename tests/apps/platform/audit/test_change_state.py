"""`change_state`: legal moves, compare-and-set on state and guard, its record; tried on a job."""

from __future__ import annotations

import json

import pytest
from django.db.models import F

from apps.core.errors import IllegalMove, StaleState
from apps.platform.audit.models import AuditRecord
from apps.platform.audit.services import change_state
from apps.platform.jobs.models import Job

pytestmark = [pytest.mark.django_db, pytest.mark.services]


@pytest.fixture
def job(project) -> Job:
    return Job.objects.create(project=project, kind="noop", state="queued", time_limit_seconds=60, grant={}, owner="a")


def test_moves_and_records(job, somebody):
    change_state(job, "running", actor=somebody, reason="claimed", guard={"owner": "a"}, attempt=F("attempt") + 1)
    row = AuditRecord.objects.get()
    facts = json.loads(row.body)
    assert (job.state, job.attempt) == ("running", 1)
    assert (row.action, row.object_id, row.project_id) == ("job.running", str(job.pk), job.project_id)
    assert (facts["before"], facts["after"]) == ({"state": "queued", "attempt": 0}, {"state": "running"})


@pytest.mark.parametrize("guard", [{"owner": "b"}, {"attempt": 3}])
def test_a_guard_that_fails_changes_nothing(job, somebody, guard):
    with pytest.raises(StaleState):
        change_state(job, "running", actor=somebody, guard=guard)
    assert Job.objects.get().state == "queued"
    assert not AuditRecord.objects.exists()


def test_a_faster_twin_wins(job, somebody):
    twin = Job.objects.get()
    change_state(job, "running", actor=somebody)
    with pytest.raises(StaleState):
        change_state(twin, "cancelled", actor=somebody)
    assert AuditRecord.objects.count() == 1


def test_an_illegal_move_names_the_legal_ones(job, somebody):
    with pytest.raises(IllegalMove) as caught:
        change_state(job, "succeeded", actor=somebody)
    assert "running" in caught.value.limit
