from datetime import timedelta

import pytest
from django.utils import timezone

from apps.core.actors import PlaneRole, build_plane_actor
from apps.core.errors import Conflict, Refused
from apps.fleet.devices.models import Assignment, DeviceCount
from apps.fleet.devices.services import expire_assignments, record_status, reports
from apps.platform.audit.models import AuditRecord
from tests.apps.fleet.devices.conftest import states

pytestmark = pytest.mark.django_db
DISPATCHER = build_plane_actor(PlaneRole.DISPATCHER, host="test")


@pytest.fixture
def assignment(device, release, assign, fetch):
    made = assign(device, release)
    fetch(device)
    return made


def test_steps_are_kept_without_a_record(device, assignment, report):
    before = AuditRecord.objects.count()
    report(device, assignment, "downloading", progress=0.5)
    report(device, assignment, "verifying", message="signature")
    row = Assignment.objects.get()
    assert (row.step, row.message, row.reports, row.state) == ("verifying", "signature", 2, "assigned")
    assert [event.step for event in row.events.order_by("pk")] == ["assigned", "downloading", "verifying"]
    assert AuditRecord.objects.count() == before


def test_a_flood_of_steps_is_dropped(device, assignment, report, monkeypatch):
    monkeypatch.setattr(reports, "MAX_REPORTS", 3)
    for _ in range(5):
        report(device, assignment, "downloading")
    row = Assignment.objects.get()
    assert (row.reports, row.events.filter(by_device=True).count()) == (5, 3)
    report(device, assignment, "failed", code="disk_full")  # an end is always kept
    assert row.events.filter(step="failed").count() == 1


@pytest.mark.parametrize("step", ["failed", "rolled_back", "cancelled"])
def test_an_end_is_taken_once(device, assignment, report, step, find_records):
    report(device, assignment, step, code="disk_full", message="12 MB are free")
    report(device, assignment, step)
    row = Assignment.objects.get()
    assert (row.state, row.code, row.message) == (step, "disk_full", "12 MB are free")
    assert row.ended_at is not None
    assert len(find_records(f"device.{step}")) == 1
    for other in {"failed", "rolled_back", "cancelled", "downloading"} - {step}:
        with pytest.raises(Conflict) as caught:
            report(device, assignment, other)
        assert caught.value.code == "assignment_closed"


def test_a_version_that_fails_after_its_receipt_is_rolled_back(
    device, assignment, next_release, assign, receive, report, find_records
):
    """The agent watches a version after its receipt; without another to fall back to, no further receipt comes."""
    receive(device, assignment.release, assignment)
    for _ in range(2):
        report(device, assignment, "rolled_back", code="exited")
    device.refresh_from_db()
    assert (states(device), device.running, device.running_since) == (["rolled_back"], None, None)
    assert list(DeviceCount.objects.filter(devices=1).values_list("state", "release_id")) == [("active", 0)]
    assert len(find_records("device.rolled_back")) == 1
    second = assign(device, next_release)
    receive(device, next_release, second)
    for row, step in ((assignment, "failed"), (second, "failed"), (second, "downloading")):
        with pytest.raises(Conflict):
            report(device, row, step)
    receive(device, assignment.release, assignment)  # what ran before starts again, and says so itself
    report(device, second, "rolled_back")
    assert (states(device), device.running) == (["succeeded", "rolled_back"], assignment.release)


def test_an_earlier_success_is_not_rolled_back(device, assignment, next_release, assign, receive, report):
    receive(device, assignment.release, assignment)
    receive(device, next_release, assign(device, next_release))
    with pytest.raises(Conflict):
        report(device, assignment, "rolled_back")
    assert (states(device), device.running) == (["succeeded", "succeeded"], next_release)


def test_installed_is_not_success(device, assignment, report):
    report(device, assignment, "switching", progress=1.0)
    assert states(device) == ["assigned"]


def test_only_the_device_itself(device, assignment, actor_for, engineer):
    with pytest.raises(Refused):
        record_status(actor=actor_for(engineer), device=device, assignment=assignment, body=None)


def test_silence_until_the_deadline_is_a_failure(device, assignment, next_release, assign, receive, find_records):
    assert expire_assignments(actor=DISPATCHER) == 0
    waiting = assign(device, next_release)
    Assignment.objects.filter(pk=assignment.pk).update(deadline=timezone.now() - timedelta(seconds=1))
    assert expire_assignments(actor=DISPATCHER) == 1
    assert states(device) == ["failed", "assigned"]
    assert Assignment.objects.get(pk=assignment.pk).code == "silent"
    assert len(find_records("device.expire")) == 1
    receive(device, assignment.release, assignment)  # the plane was away, not the device
    assert states(device) == ["succeeded", "assigned"]
    assert device.assignments.get(pk=waiting.pk).deadline > timezone.now()


def test_who_may_not_expire(actor_for, engineer):
    with pytest.raises(Refused):
        expire_assignments(actor=actor_for(engineer))
