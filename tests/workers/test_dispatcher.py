"""The dispatcher's loops outlive whatever their work raises: a sealer that died in silence would seal nothing."""

from __future__ import annotations

import threading
from datetime import timedelta

import pytest
from django.db import OperationalError
from django.db.models.functions import Now

from apps.core.actors import PlaneRole, build_plane_actor
from apps.platform.jobs import services
from apps.platform.jobs.models import Job
from apps.platform.jobs.scheduling import doorbell, liveness
from apps.platform.jobs.states import JobState
from apps.platform.jobs.submission import get_lease_seconds
from workers.lease_clock import LeaseClock
from workers.management.commands import dispatcher
from workers.management.commands.dispatcher import Command

pytestmark = pytest.mark.services


@pytest.fixture
def dispatching(monkeypatch):
    """A dispatcher whose first lease is over, so that it judges; its ringing goes nowhere."""
    command = Command()
    command.actor = build_plane_actor(PlaneRole.DISPATCHER, host="test")
    command.clock = LeaseClock(get_lease_seconds(), rest=1)
    command.clock.trusted_from = 0.0
    monkeypatch.setattr(doorbell, "ring", lambda queue: None)
    command.dispatch()
    return command


def lapse(job: Job) -> None:
    """What a clock that jumps forward by an hour does to the lease."""
    Job.objects.filter(pk=job.pk).update(lease_until=Now() - timedelta(hours=1))


@pytest.fixture
def running(submit, node, worker_actor) -> Job:
    submit()
    return services.claim_job(actor=worker_actor, node=node, owner="w1", queue="cpu")


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("hours", [1, -1, 72, -72])
def test_jump_of_the_clock_costs_no_job(dispatching, running, monkeypatch, hours):
    real = dispatcher.get_database_now
    monkeypatch.setattr(dispatcher, "get_database_now", lambda: real() + timedelta(hours=hours))
    if hours > 0:
        lapse(running)
    dispatching.dispatch()
    running.refresh_from_db()
    assert running.state == JobState.RUNNING
    dispatching.clock.trusted_from = 0.0  # one lease later: whoever lives has renewed it
    dispatching.dispatch()
    running.refresh_from_db()
    assert running.state == (JobState.QUEUED if hours > 0 else JobState.RUNNING)


@pytest.mark.django_db(transaction=True)
def test_lease_that_ran_out_is_recovered_while_the_clock_is_steady(dispatching, running):
    lapse(running)
    dispatching.dispatch()
    running.refresh_from_db()
    assert (running.state, running.error["code"]) == (JobState.QUEUED, "worker_lost")


@pytest.mark.django_db(transaction=True)
def test_database_that_takes_no_writes_puts_judging_off(dispatching, running, monkeypatch):
    def full(**_):
        raise OperationalError("database or disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(services, "recover_expired", full)
        with pytest.raises(OperationalError):
            dispatching.dispatch()
    lapse(running)
    dispatching.dispatch()
    running.refresh_from_db()
    assert running.state == JobState.RUNNING


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("fault", [OperationalError("away"), RuntimeError("somebody else writes"), OSError(28, "full")])
def test_loop_outlives_any_fault_and_beats_after_work(monkeypatch, fault):
    beats: list[str] = []
    monkeypatch.setattr(liveness, "record_beat", beats.append)
    command, answers = Command(), iter([fault, fault, None])
    command.stopping = threading.Event()

    def work() -> None:
        answer = next(answers)
        if answer:
            raise answer
        command.stopping.set()

    command.every(0.01, "sealer", work)
    assert beats == ["sealer"]
