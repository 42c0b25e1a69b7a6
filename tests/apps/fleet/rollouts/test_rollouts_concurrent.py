"""Approvers, engineers and dispatchers at the same instant, each on a connection of its own. Both databases."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import timedelta

import pytest
from django.db import connection
from django.db.models import Count
from django.utils import timezone

from apps.core.actors import ProjectRole
from apps.core.errors import PlaneError
from apps.fleet.devices.models import Assignment
from apps.fleet.devices.services import presence
from apps.fleet.rollouts.models import Rollout, RolloutDevice
from apps.fleet.rollouts.services import (
    advance_rollouts,
    driving,
    request_decision,
    request_start,
    roll_back,
    start_rollout,
    starting,
)
from apps.platform.approvals.models import Vote
from tests.apps.fleet.rollouts.looks import add_look
from tests.conftest import member

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.services]


def run_at_once(*acts) -> list[str]:
    """What came of each act, all let go together: "done", or the code of its refusal."""
    ready = threading.Barrier(len(acts))

    def go(act) -> str:
        try:
            ready.wait(timeout=60)
            act()
        except PlaneError as refusal:
            return refusal.code
        finally:
            connection.close()
        return "done"

    with ThreadPoolExecutor(len(acts)) as pool:
        return sorted(future.result() for future in [pool.submit(go, act) for act in acts])


@pytest.fixture
def meet(monkeypatch):
    """meet(module, name): whoever calls the function waits until two do: the race that locks are for.

    Not for long on SQLite, where the second may be waiting for the first one's transaction.
    """
    patience = 30 if connection.vendor == "postgresql" else 2

    def wait_in(module, name):
        function, together = getattr(module, name), threading.Barrier(2)

        def call(*args, **kwargs):
            with suppress(threading.BrokenBarrierError):  # a later call of one of them
                together.wait(timeout=patience)
            return function(*args, **kwargs)

        monkeypatch.setattr(module, name, call)

    return wait_in


@pytest.fixture
def second(project):
    """Another approver."""
    return member(project, "second", ProjectRole.APPROVER)


def test_two_approvers_let_it_start_once(create, fleet, actor_for, engineer, approver, second, vote, find_records):
    rollout = request_start(actor=actor_for(engineer), rollout=create())
    came = run_at_once(*[lambda who=who: vote(rollout.approval, who=who) for who in (approver, second)])
    rollout.refresh_from_db()
    assert (came, rollout.state) == (["already_decided", "done"], "approved")
    assert Vote.objects.filter(approval=rollout.approval).count() == 1
    assert len(find_records("rollout.approved")) == 1


@pytest.fixture
def awaiting(approved_rollout, actor_for, engineer):
    """A rollout whose approvers decide on the evidence of its first wave."""
    rollout = start_rollout(actor=actor_for(engineer), rollout=approved_rollout())
    add_look(rollout)
    Rollout.objects.filter(pk=rollout.pk).update(state="held")
    rollout.waves.filter(position=0).update(state="held")
    return request_decision(actor=actor_for(engineer), rollout=rollout)


def test_two_approvers_let_one_wave_begin(awaiting, approver, second, vote, find_records):
    came = run_at_once(*[lambda who=who: vote(awaiting.decision, who=who) for who in (approver, second)])
    assert came == ["already_decided", "done"]
    assert [wave.state for wave in awaiting.waves.all()] == ["passed", "running", "pending"]
    assert len(find_records("rollout.go_on")) == 1


def test_a_way_back_beside_the_vote_wins(awaiting, actor_for, approver, engineer, vote, find_records):
    """Whichever comes first, the devices go back, and no wave is left running."""
    came = run_at_once(
        lambda: vote(awaiting.decision),
        lambda: roll_back(actor=actor_for(engineer), rollout=awaiting, reason="It rattles."),
    )
    awaiting.refresh_from_db()
    assert (awaiting.state, "done" in came) == ("rolling_back", True)
    assert {wave.state for wave in awaiting.waves.all()} == {"stopped"}
    assert len(find_records("rollout.roll_back")) == 1


def list_shared_devices() -> list[int]:
    """Devices that more than one rollout holds."""
    active = RolloutDevice.objects.filter(is_active=True).values("device").annotate(rollouts=Count("rollout"))
    return list(active.filter(rollouts__gt=1).values_list("device", flat=True))


def test_of_two_rollouts_of_one_device_one_starts(
    approved_rollout, add_devices, actor_for, engineer, meet, find_records
):
    """Both have found every device free, and claim them in another order."""
    add_devices(2000, start=100)
    first, second = approved_rollout(), approved_rollout()
    meet(starting, "claim_devices")
    came = run_at_once(
        *[lambda each=each: start_rollout(actor=actor_for(engineer), rollout=each) for each in (first, second)]
    )
    assert came == ["devices_in_rollout", "done"]
    assert sorted(Rollout.objects.values_list("state", flat=True)) == ["approved", "running"]
    assert (RolloutDevice.objects.filter(is_active=True).count(), list_shared_devices()) == (2020, [])
    assert len(find_records("rollout.start")) == 1


def test_two_rollouts_that_are_planned_at_once_are_both_planned_whole(create, fleet, approver, actor_for, engineer):
    rollouts = create(), create()
    came = run_at_once(*[lambda each=each: request_start(actor=actor_for(engineer), rollout=each) for each in rollouts])
    assert came == ["done", "done"]
    assert [each.members.filter(is_active=False).count() for each in rollouts] == [20, 20]


def test_one_plan_that_is_requested_twice_at_once_is_asked_for_once(create, fleet, approver, actor_for, engineer):
    rollout = create()
    came = run_at_once(*[lambda: request_start(actor=actor_for(engineer), rollout=rollout)] * 2)
    assert came == ["done", "rollout_state"]
    assert rollout.members.count() == 20


def test_two_dispatchers_assign_each_device_once(approved_rollout, dispatcher, meet, find_records):
    rollout = approved_rollout()
    meet(driving, "advance_rollout")
    for _ in range(2):
        run_at_once(*[lambda: advance_rollouts(actor=dispatcher, evaluate=lambda *_: {})] * 2)
        Rollout.objects.update(next_step_at=None)
    rollout.refresh_from_db()
    assert (rollout.state, rollout.position) == ("running", 0)
    assert Assignment.objects.count() == 2
    assert len(find_records("rollout.start")) == 1


def test_two_dispatchers_move_the_deadlines_after_an_absence_once(approved_rollout, dispatcher, meet, find_records):
    rollout = approved_rollout()
    now = timezone.now()
    for _ in range(2):
        advance_rollouts(actor=dispatcher, evaluate=lambda *_: {}, now=now)
        Rollout.objects.update(next_step_at=None)
    deadline = Assignment.objects.first().deadline
    meet(presence, "require")
    later = now + timedelta(hours=1)
    run_at_once(*[lambda: advance_rollouts(actor=dispatcher, evaluate=lambda *_: {}, now=later)] * 2)
    assert Assignment.objects.first().deadline - deadline == timedelta(hours=1)
    assert 3590 <= rollout.waves.get(position=0).away_seconds <= 3600  # it began a moment after `now`
    assert [len(find_records(name)) for name in ("device.extend_deadlines", "rollout.extend_wave")] == [1, 1]
