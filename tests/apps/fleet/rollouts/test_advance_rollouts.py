"""Rollouts as the dispatcher drives them, with devices whose answers the test gives and verdicts of the real engine."""

from __future__ import annotations

import random
from datetime import datetime, timedelta
from types import SimpleNamespace

import pytest
from django.utils import timezone

from apps.core.errors import Refused
from apps.fleet.devices.models import Assignment, Device, DeviceTelemetry
from apps.fleet.rollouts.models import Look, RollbackRelease, RolloutDevice
from apps.fleet.rollouts.services import advance_rollouts, driving, members, pause_rollout, roll_back, rollback, waves
from apps.fleet.rollouts.services import start_rollout as start
from apps.platform.notices.models import Notice
from deepseek.canary.evidence_spec import Evidence
from deepseek.canary.spec import CanaryPlan
from deepseek.canary.verdict import evaluate_canary
from tests.apps.fleet.rollouts.conftest import GATES

pytestmark = [pytest.mark.django_db, pytest.mark.services]

PLAN = {"look_seconds": 1, "wave_deadline_seconds": 600}


def evaluate(plan, evidence):
    return evaluate_canary(CanaryPlan.model_validate(plan), Evidence.model_validate(evidence))


@pytest.fixture
def drive(dispatcher, monkeypatch):
    """drive(rollout, seconds) -> the rollout after a round of the dispatcher so many seconds from the last one."""
    clock = [timezone.now()]
    monkeypatch.setattr(waves, "timezone", SimpleNamespace(now=lambda: clock[0]))

    def run(rollout, seconds=100):
        clock[0] += timedelta(seconds=seconds)
        DeviceTelemetry.objects.update(last_seen=clock[0])
        advance_rollouts(actor=dispatcher, evaluate=evaluate, now=clock[0])
        rollout.refresh_from_db()
        return rollout

    run.clock = clock
    return run


@pytest.fixture
def answer(drive):
    """answer(latency, control=50, fails=()) : devices end what they are assigned, and say how long they take."""

    def end(latency=50.0, control=50.0, fails=()):
        noise = random.Random(7)
        for row in Assignment.objects.filter(state="assigned").select_related("device"):
            failed = row.device.name in fails
            fields = {"state": "failed", "code": "health_failed"} if failed else {"state": "succeeded"}
            Assignment.objects.filter(pk=row.pk).update(ended_at=drive.clock[0], **fields)
            if not failed:
                Device.objects.filter(pk=row.device_id).update(running=row.release)
        current = set(RolloutDevice.objects.filter(assignment__state="succeeded").values_list("device_id", flat=True))
        for telemetry in DeviceTelemetry.objects.order_by("pk"):
            mean = latency if telemetry.device_id in current else control
            telemetry.metrics = {"latency_ms": mean + noise.gauss(0, 1)}
            telemetry.save(update_fields=["metrics"])

    return end


def list_states(rollout):
    return [wave.state for wave in rollout.waves.all()]


def test_a_good_version_reaches_every_device(approved_rollout, add_devices, drive, answer, vote, engineer):
    add_devices(40, start=100)
    rollout = drive(approved_rollout(**PLAN), 0)
    assert (rollout.state, rollout.position) == ("running", 0)  # started by the plane
    drive(rollout, 1)
    assert Assignment.objects.filter(state="assigned").count() == 6
    answer()
    drive(rollout, 5)
    rollout = drive(rollout, 200)
    assert rollout.state == "awaiting_decision"
    assert Look.objects.filter(wave__rollout=rollout).last().verdict == "go_on"
    vote(rollout.decision)
    for _ in range(8):
        answer()
        rollout = drive(rollout, 200)
    assert (rollout.state, list_states(rollout)) == ("completed", ["passed"] * 3)
    assert set(RolloutDevice.objects.filter(rollout=rollout).values_list("stage", flat=True)) == {"installed"}
    assert Assignment.objects.count() == 60  # each once
    assert Notice.objects.filter(kind="rollout.ended", recipient=engineer).count() == 1
    late = add_devices(1, start=900)
    drive(rollout, 100)
    assert Assignment.objects.filter(device=late[0]).count() == 1


def test_a_bad_version_is_rolled_back_at_its_first_wave(approved_rollout, add_devices, drive, answer, first_release):
    add_devices(40, start=100)
    rollout = drive(approved_rollout(**PLAN), 0)
    drive(rollout, 1)
    for _ in range(8):
        answer(latency=200.0)
        rollout = drive(rollout, 100)
    assert (rollout.state, list_states(rollout)) == ("rolled_back", ["stopped"] * 3)
    assert "latency_ms" in rollout.state_reason["message"]
    assert RolloutDevice.objects.filter(rollout=rollout, stage="returned").count() == 6
    again = RollbackRelease.objects.get(rollout=rollout).release
    assert (again.variant_id, again.sequence > first_release.sequence) == (first_release.variant_id, True)
    assert Device.objects.filter(running=again).count() == 6
    assert not RolloutDevice.objects.filter(is_active=True).exists()


def test_an_undecidable_one_is_held(approved_rollout, drive, answer, vote, engineer, actor_for):
    gates = {**GATES, "min_canary": 5}
    rollout = drive(approved_rollout(**PLAN, canary=gates, waves=[{"count": 2}, {"share": 1.0}]), 0)
    drive(rollout, 1)
    for _ in range(9):
        answer()
        rollout = drive(rollout, 100)
    assert (rollout.state, rollout.waves.first().state) == ("held", "held")
    assert Look.objects.filter(wave__rollout=rollout).last().is_final
    assert Notice.objects.filter(kind="rollout.held", recipient=engineer).exists()


def test_a_gate_rolls_back_while_it_is_paused(approved_rollout, add_devices, drive, answer, engineer, actor_for):
    add_devices(40, start=100)
    rollout = drive(approved_rollout(**PLAN), 0)
    drive(rollout, 1)
    pause_rollout(actor=actor_for(engineer), rollout=rollout, reason="wait")
    answer(latency=200.0)
    for _ in range(2):
        rollout = drive(rollout, 100)
    assert rollout.state in ("rolling_back", "rolled_back")


def test_failures_try_again_by_their_code(approved_rollout, drive, answer):
    retry = {"codes": ["health_failed"], "attempts": 2, "backoff_seconds": 60}
    rollout = drive(approved_rollout(**PLAN, retry=retry), 0)
    drive(rollout, 1)
    name = Assignment.objects.filter(state="assigned").first().device.name
    answer(fails=(name,))
    drive(rollout, 5)
    member = RolloutDevice.objects.get(rollout=rollout, device__name=name)
    assert (member.stage, member.code, member.retry_at is not None) == ("failed", "health_failed", True)
    drive(rollout, 90)
    assert Assignment.objects.filter(device__name=name).count() == 2


def test_nothing_is_assigned_outside_of_the_windows(approved_rollout, drive):
    closed = {"days": ["mon"], "start": "03:00", "minutes": 1}
    rollout = drive(approved_rollout(**PLAN, schedule={"windows": [closed], "time_zone": "Asia/Shanghai"}), 0)
    drive(rollout, 1)
    assert not Assignment.objects.exists()
    opening = datetime.fromisoformat("2030-01-06T19:00:30+00:00")  # 03:00 on a Monday there
    drive(rollout, (opening - drive.clock[0]).total_seconds())
    assert Assignment.objects.count() == 2


def test_a_rejected_start_is_a_draft_again(create, fleet, approver, engineer, actor_for, drive):
    from apps.fleet.rollouts.services import request_start
    from apps.platform.approvals.services import withdraw

    rollout = request_start(actor=actor_for(engineer), rollout=create())
    withdraw(actor=actor_for(engineer), approval=rollout.approval, reason="not yet")
    assert drive(rollout).state == "draft"


FAULTS = {
    "after an assignment": (driving, "count_stages"),
    "between two waves": (driving, "finish_wave"),
    "after a look": (driving, "act_on_verdict"),
    "while a rollback begins": (driving, "begin_rollback"),
    "in the middle of a rollback": (rollback, "assign_members"),
    "before the rollback's releases": (rollback, "get_rollback_release"),
    "while counts are written": (rollback, "count_stages"),
    "in the assignment itself": (members, "assign_release_to_devices"),
}


def test_a_killed_dispatcher_is_followed_by_one_that_does_each_step_once(
    approved_rollout, add_devices, drive, answer, monkeypatch, dispatcher
):
    """At every place once: after the step of the name has been taken, and before its transaction has ended."""
    add_devices(40, start=100)
    rollout = drive(approved_rollout(**PLAN, approve_after="none"), 0)
    pending = dict(FAULTS)

    def kill(name, module, function):
        def fail(*args, **kwargs):
            outcome = function(*args, **kwargs)
            if pending.pop(name, None):
                raise KeyboardInterrupt(name)
            return outcome

        monkeypatch.setattr(module, function.__name__, fail)

    for name, (module, function) in FAULTS.items():
        kill(name, module, getattr(module, function))
    for _ in range(40):
        answer(latency=200.0 if rollout.position else 50.0)
        try:
            rollout = drive(rollout, 60)
        except KeyboardInterrupt:
            continue
        if rollout.state == "rolled_back":
            break
    assert (pending, rollout.state) == ({}, "rolled_back")
    given = Assignment.objects.filter(release=rollout.variants.get().release)
    assert given.count() == given.values("device").distinct().count()
    back = Assignment.objects.filter(release=RollbackRelease.objects.get(rollout=rollout).release)
    assert back.count() == back.values("device").distinct().count() == given.count()


def test_who_may_not(actor_for, engineer, project):
    with pytest.raises(Refused):
        advance_rollouts(actor=actor_for(engineer), evaluate=evaluate)


def test_a_rollback_strands_who_ran_nothing_before(approved_rollout, drive, answer, add_devices, actor_for, engineer):
    add_devices(2, start=500, running=None)
    rollout = approved_rollout(**PLAN, waves=[{"share": 1.0}])
    rollout = start(actor=actor_for(engineer), rollout=rollout)
    drive(rollout, 1)
    answer()
    drive(rollout, 2)
    roll_back(actor=actor_for(engineer), rollout=rollout, reason="no")
    for _ in range(3):
        rollout = drive(rollout, 60)
        answer()
    stranded = RolloutDevice.objects.filter(rollout=rollout, stage="stranded")
    assert {row.code for row in stranded} == {"nothing_before"}
    assert (stranded.count(), rollout.state) == (2, "rolled_back")
