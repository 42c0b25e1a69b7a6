from datetime import UTC, datetime, timedelta

import pytest
from django.utils import timezone

from apps.core.errors import NotFound, Refused
from apps.fleet.devices import queries
from apps.fleet.devices.models import DeviceTelemetry
from apps.fleet.devices.schemas import HeartbeatBody
from apps.fleet.devices.services import note_poll, record_heartbeat, telemetry
from apps.platform.audit.models import AuditRecord

pytestmark = [pytest.mark.django_db, pytest.mark.services]


def test_a_heartbeat_is_kept_without_a_record(device, acting):
    before = AuditRecord.objects.count()
    body = HeartbeatBody(health="failing", metrics={"temperature": 71.5}, installed="a" * 64)
    now = record_heartbeat(actor=acting(device), device=device, body=body)
    row = DeviceTelemetry.objects.get(pk=device.pk)
    assert (row.last_seen, row.health, row.metrics, row.installed) == (now, "failing", {"temperature": 71.5}, "a" * 64)
    assert AuditRecord.objects.count() == before


def test_a_clock_that_is_a_year_off_is_shown_and_trusted_nowhere(device, acting):
    for clock, days in ((timezone.now() + timedelta(days=366), 366), (datetime(1, 1, 1, tzinfo=UTC), -700_000)):
        record_heartbeat(actor=acting(device), device=device, body=HeartbeatBody(clock=clock))
        row = DeviceTelemetry.objects.get(pk=device.pk)
        assert abs(row.last_seen - timezone.now()) < timedelta(minutes=1)
        assert row.clock_offset / 86400 == pytest.approx(days, rel=0.1)


def test_only_the_device_itself(device, acting, other_project, actor_for, engineer, enrol):
    with pytest.raises(Refused):
        record_heartbeat(actor=actor_for(engineer), device=device, body=HeartbeatBody())
    elsewhere = acting(device)
    device.project_id = other_project.pk
    with pytest.raises(NotFound):
        record_heartbeat(actor=elsewhere, device=device, body=HeartbeatBody())


def test_polls_are_written_together(device, enrol, monkeypatch, django_assert_num_queries, project, actor_for, viewer):
    others = [device, enrol("press-2"), enrol("press-3")]
    monkeypatch.setattr(telemetry.TelemetryBuffer, "flush_soon", lambda self: None)
    with django_assert_num_queries(0):
        for each in others:
            note_poll(each.pk)
    assert queries.list_devices(actor_for(viewer), project, {"seen": "never"}).count() == 3
    with django_assert_num_queries(1):
        telemetry.flush_telemetry()
    assert queries.list_devices(actor_for(viewer), project, {"seen": "online"}).count() == 3
    DeviceTelemetry.objects.filter(pk=device.pk).update(last_seen=timezone.now() - timedelta(days=1))
    assert [row.pk for row in queries.list_devices(actor_for(viewer), project, {"seen": "offline"})] == [device.pk]


def test_one_thread_writes_what_came_meanwhile(device, monkeypatch):
    timers = []

    class Timer:
        def __init__(self, seconds, work):
            timers.append((seconds, work))

        def start(self):
            assert self.daemon

    monkeypatch.setattr(telemetry, "FLUSH_SECONDS", 5.0)
    monkeypatch.setattr(telemetry.threading, "Timer", Timer)
    monkeypatch.setattr(telemetry.connection, "close", lambda: None)  # it holds the transaction of the test
    note_poll(device.pk)
    note_poll(device.pk)
    [(seconds, work)] = timers
    work()
    assert (seconds, DeviceTelemetry.objects.get().last_seen is not None) == (5.0, True)
    note_poll(device.pk)
    assert len(timers) == 2
    telemetry.flush_telemetry()
