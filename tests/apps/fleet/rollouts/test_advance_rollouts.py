"""Rollouts as the dispatcher drives them, with devices whose answers the test gives and verdicts of the real engine."""

from __future__ import annotations

import random
from datetime import datetime, timedelta
from types import SimpleNamespace

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from apps.core.actors import ProjectRole
from apps.core.errors import Refused
from apps.fleet.devices.models import Assignment, Device, DeviceTelemetry
from apps.fleet.rollouts.models import Look, RollbackRelease, RolloutDevice
from apps.fleet.rollouts.services import (
    advance_rollouts,
    driving,
    looks,
    members,
    pause_rollout,
    request_decision,
    request_start,
    roll_back,
    rollback,
    waves,
)
from apps.fleet.rollouts.services import start_rollout as start
from apps.ml.experiments.models import Run
from apps.platform.accounts.actors import build_actor_for_token
from apps.platform.accounts.models import Membership
from apps.platform.accounts.services import create_service_account, create_token_for_service_account
from apps.platform.approvals.queries import query_waiting_for
from apps.platform.notices.models import Notice
from deepseek.canary.evidence_spec import Evidence
from deepseek.canary.spec import CanaryPlan
from deepseek.canary.verdict import evaluate_canary
from tests.apps.fleet.rollouts.conftest import GATES
from tests.conftest import member

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
        if run.hears:
            DeviceTelemetry.objects.update(last_seen=clock[0])
        advance_rollouts(actor=dispatcher, evaluate=evaluate, now=clock[0])
        rollout.refresh_from_db()
        return rollout

    run.clock, run.hears = clock, True
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


@pytest.fixture
def rollout_on_hold(approved_rollout, add_devices, drive, answer):
    """A rollout whose last look at the first wave could not decide: six canaries, and ten were to be compared."""
    add_devices(40, start=100)
    gates = {**GATES, "min_canary": 10}
    rollout = drive(approved_rollout(**PLAN, canary=gates), 0)
    drive(rollout, 1)
    for _ in range(9):
        answer()
        rollout = drive(rollout, 100)
    assert (rollout.state, rollout.waves.get(position=0).state) == ("held", "held")
    return rollout


def fail_canaries(rollout, count):
    """`count` of the canaries fall back to what they ran before."""
    rows = RolloutDevice.objects.filter(rollout=rollout, stage="installed")
    keys = rows.values_list("assignment_id", flat=True)[:count]
    Assignment.objects.filter(pk__in=list(keys)).update(state="rolled_back")


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


@pytest.fixture
def both(project):
    """Engineer and approver."""
    return member(project, "both", ProjectRole.ENGINEER, ProjectRole.APPROVER)


@pytest.fixture
def robot(project, secadmin, actor_for, both):
    """The actor that a token of a service account is, which the security administrator handed to `both`."""
    admin = actor_for(secadmin)
    account = create_service_account(actor=admin, project=project, name="robot", roles=["engineer"])
    scopes = ["models:write", "devices:write", "read"]
    token, _ = create_token_for_service_account(actor=admin, account=account, name="t", scopes=scopes, holder=both)
    return build_actor_for_token(token)


def test_who_holds_the_token_that_asked_approves_neither_start_nor_wave(
    create, add_devices, approver, robot, both, drive, answer, vote
):
    """Also when the dispatcher asks in the name of the token's account, after a wave."""
    add_devices(60)
    rollout = request_start(actor=robot, rollout=create(**PLAN))
    for approval in ("approval", "decision"):
        with pytest.raises(Refused) as caught:
            vote(getattr(rollout, approval), who=both)
        assert caught.value.code == "own_request"
        vote(getattr(rollout, approval))
        for seconds in (0, 1, 5, 200):
            rollout = drive(rollout, seconds)
            answer()
            if rollout.state == "awaiting_decision":
                break
    assert rollout.waves.get(position=0).state == "passed"


def test_who_asked_for_the_start_does_not_approve_the_next_wave(
    rollout_on_hold, project, engineer, both, actor_for, vote, web
):
    """Although a colleague asks for that."""
    Membership.objects.create(project=project, user=engineer, role=ProjectRole.APPROVER)
    assert rollout_on_hold.approval.requester == engineer.username
    decision = request_decision(actor=actor_for(both), rollout=rollout_on_hold).decision
    assert decision.follows == rollout_on_hold.approval
    assert not query_waiting_for(actor_for(engineer)).exists()
    with pytest.raises(Refused) as caught:
        vote(decision, who=engineer)
    assert caught.value.code == "own_request"
    page = web(engineer).get(f"/p/demo/approvals/{decision.pk}")
    assert b'name="reason"' not in page.content
    vote(decision)
    rollout_on_hold.refresh_from_db()
    assert rollout_on_hold.state == "running"


def test_harm_after_the_last_look_rolls_back(rollout_on_hold, drive, find_records):
    """Nobody has decided yet. The planned error is spent, so the look is one that holds at any time."""
    rollout = drive(rollout_on_hold, 100)
    before = rollout.waves.get(position=0).looks
    assert rollout.state == "held", "a look that sees nothing changes nothing"
    fail_canaries(rollout, 6)
    rollout = drive(rollout, 100)
    assert rollout.state in ("rolling_back", "rolled_back")
    look = Look.objects.filter(wave__rollout=rollout).last()
    assert (look.number, look.verdict, look.document["mode"]) == (before + 1, "roll_back", "e_process")
    assert len(find_records("rollout.roll_back")) == 1


def test_harm_after_the_last_look_rolls_back_while_approvers_decide(rollout_on_hold, drive, actor_for, engineer):
    rollout = request_decision(actor=actor_for(engineer), rollout=rollout_on_hold)
    fail_canaries(rollout, 6)
    rollout = drive(rollout, 100)
    assert rollout.state in ("rolling_back", "rolled_back")
    rollout.decision.refresh_from_db()
    assert rollout.decision.state == "void"


def test_a_good_one_on_hold_stays_on_hold(rollout_on_hold, drive, answer):
    looks_before = rollout_on_hold.waves.get(position=0).looks
    for _ in range(30):
        answer()
        rollout = drive(rollout_on_hold, 100)
    assert (rollout.state, rollout.waves.get(position=0).looks) == ("held", looks_before)


def test_an_hour_without_the_plane_counts_for_nothing(approved_rollout, add_devices, drive, answer, find_records):
    """Devices that nobody could hear are neither silent nor observed, and every deadline runs on by that hour."""
    add_devices(40, start=100)
    gate = {"name": "silence", "measure": "silence", "scale": "binary", "reference": "limit", "limit": 0.3}
    gates = {"gates": [gate], "soak_seconds": 300, "silence_seconds": 240, "min_canary": 2}
    rollout = drive(approved_rollout(**PLAN, canary=gates, approve_after="none", deadline_seconds=900), 0)
    drive(rollout, 1)
    late = Assignment.objects.filter(state="assigned").first()
    deadline, wave = late.deadline, rollout.waves.get(position=0)
    Assignment.objects.exclude(pk=late.pk).update(state="succeeded", ended_at=drive.clock[0])
    drive(rollout, 100)
    drive.hears = False  # the plane is back, and no device has asked yet
    for seconds in (3600, 10):
        rollout = drive(rollout, seconds)
    assert (rollout.state, rollout.position) == ("running", 0)
    document = Look.objects.filter(wave__rollout=rollout).last().document
    counts = document["devices"]["canary"]
    assert (counts["silent"], counts["soaked"], counts["soaking"]) == (0, 0, 5)
    late.refresh_from_db()
    assert (late.state, late.deadline - deadline) == ("assigned", timedelta(hours=1))
    moved = rollout.waves.get(position=0)
    assert (moved.deadline_at - wave.deadline_at, moved.away_seconds) == (timedelta(hours=1), 3600)
    assert [len(find_records(name)) for name in ("device.extend_deadlines", "rollout.extend_wave")] == [1, 1]
    rollout = drive(rollout, 270)  # now they have been silent for longer than a device may be
    assert Look.objects.filter(wave__rollout=rollout).last().document["devices"]["canary"]["silent"] == 5


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


def test_metrics_that_change_after_the_approval_stop_the_start(approved_rollout, drive, find_records):
    rollout = approved_rollout(**PLAN)
    Run.objects.filter(pk=rollout.version.run_id).update(metrics_digest="0" * 64)
    for _ in range(3):
        rollout = drive(rollout)
    assert (rollout.state, "/run/metrics_digest" in rollout.state_reason["message"]) == ("draft", True)
    assert (len(find_records("rollout.void")), Assignment.objects.count()) == (1, 0)


def test_devices_that_enrol_later_are_looked_for_every_half_minute(approved_rollout, drive, answer, add_devices):
    """In a last wave that runs: to look takes every device of the selection."""
    rollout = drive(approved_rollout(**PLAN, waves=[{"share": 1.0}]), 0)
    drive(rollout, 1)
    add_devices(2, start=900)
    reads = []
    for seconds in (2, 2, 2, 30):
        with CaptureQueriesContext(connection) as queries:
            rollout = drive(rollout, seconds)
        reads.append(sum('FROM "devices_device"' in query["sql"] for query in queries))
    assert (rollout.members.count(), reads[:3]) == (22, [0, 0, 0])
    assert reads[3] > 0


def test_a_rejected_start_is_a_draft_again(create, fleet, approver, engineer, actor_for, drive):
    from apps.platform.approvals.services import withdraw

    rollout = request_start(actor=actor_for(engineer), rollout=create())
    withdraw(actor=actor_for(engineer), approval=rollout.approval, reason="not yet")
    assert drive(rollout).state == "draft"


FAULTS = {
    "after an assignment": (driving, "count_stages"),
    "between two waves": (looks, "finish_wave"),
    "after a look": (looks, "act_on_verdict"),
    "while a rollback begins": (looks, "begin_rollback"),
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
