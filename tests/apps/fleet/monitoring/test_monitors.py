"""What people do with monitors and alarms."""

from __future__ import annotations

from datetime import timedelta

import pytest

from apps.core.errors import Conflict, Invalid, NotFound, PlaneError, Refused
from apps.fleet.monitoring.models import Alarm, Monitor
from apps.fleet.monitoring.services import (
    acknowledge_alarm,
    close_alarm,
    delete_monitor,
    pause_monitor,
    resume_monitor,
    update_monitor,
)
from apps.platform.audit.models import AuditRecord
from tests.apps.fleet.monitoring.conftest import LATER, NOON


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("metric", "auc"),
        ("rule", "percent"),
        ("limit", 0.0),
        ("limit", 1.5),
        ("limit", float("nan")),
        ("reference", 1.2),
        ("reference", float("inf")),
        ("window_hours", 0),
        ("min_count", -1),
        ("silence_hours", 0),
        ("cooldown_hours", 10**6),
        ("name", "a\nb"),
    ],
)
def test_bad_values_name_their_field(create, field, value):
    with pytest.raises(Invalid) as refusal:
        create(**{field: value})
    assert refusal.value.errors[0]["field"].lstrip("/") == field
    assert not Monitor.objects.exists()


def test_a_metric_that_the_source_has_not(create):
    with pytest.raises(Invalid, match="classification"):
        create(metric="error", source="live")


@pytest.mark.parametrize("fields", [{"model": "gone"}, {"source": "gone"}, {"group": "gone"}])
def test_what_is_not_there(create, fields):
    with pytest.raises(NotFound):
        create(**fields)


def test_a_name_is_taken_once(create):
    create()
    with pytest.raises(Conflict, match="already"):
        create()


def test_a_viewer_creates_none(create, viewer):
    with pytest.raises(Refused):
        create(who=viewer)


def test_a_change_is_recorded_and_owns_it(monitor, actor_for, engineer):
    update_monitor(actor=actor_for(engineer), monitor=monitor, limit=0.1, silence_hours=6)
    monitor.refresh_from_db()
    assert (monitor.limit, monitor.silence_hours) == (0.1, 6)
    assert '"limit":0.1' in AuditRecord.objects.get(action="monitor.update").body.replace(" ", "")


def test_a_pause_is_not_made_up_for(monitor, at, evaluate, actor_for, engineer):
    pause_monitor(actor=actor_for(engineer), monitor=monitor)
    assert evaluate(NOON + timedelta(hours=30)) == 0
    resume_monitor(actor=actor_for(engineer), monitor=monitor)
    assert evaluate(NOON + timedelta(hours=30) + LATER) == 1


def test_one_with_alarms_is_kept(alarm, create, actor_for, engineer):
    with pytest.raises(Conflict, match="kept"):
        delete_monitor(actor=actor_for(engineer), monitor=alarm.monitor)
    delete_monitor(actor=actor_for(engineer), monitor=create(name="other"))
    assert Monitor.objects.count() == 1


def test_an_alarm_is_acknowledged_once_and_with_a_reason(alarm, actor_for, engineer, viewer):
    with pytest.raises(Refused):
        acknowledge_alarm(actor=actor_for(viewer), alarm=alarm, reason="x")
    with pytest.raises(Invalid):
        acknowledge_alarm(actor=actor_for(engineer), alarm=alarm, reason="  ")
    with pytest.raises(PlaneError):
        close_alarm(actor=actor_for(engineer), alarm=alarm)
    acknowledge_alarm(actor=actor_for(engineer), alarm=alarm, reason="a lens was dirty")
    with pytest.raises(PlaneError):
        acknowledge_alarm(actor=actor_for(engineer), alarm=alarm, reason="again")
    kept = Alarm.objects.get()
    assert (kept.state, kept.reason, kept.acknowledged_by) == ("acknowledged", "a lens was dirty", "engineer")
