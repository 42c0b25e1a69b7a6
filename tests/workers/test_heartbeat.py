"""The thread that keeps the leases: it outlives every fault, and keeps none that nobody works for."""

from __future__ import annotations

import time

import pytest
from django.db import OperationalError

from apps.platform.jobs import services
from apps.platform.jobs.models import Job
from apps.platform.nodes.models import NodeSample
from workers import heartbeat as module
from workers.heartbeat import Heartbeat
from workers.runner import Attempt

pytestmark = [pytest.mark.django_db, pytest.mark.services]


@pytest.fixture
def beating(worker_actor, node) -> Heartbeat:
    return Heartbeat(actor=worker_actor, node=node, owner="w1")


@pytest.fixture
def attempt(beating, submit, node, worker_actor, settings, tmp_path) -> Attempt:
    settings.PLANE_HOME = tmp_path
    submit()
    job = services.claim_job(actor=worker_actor, node=node, owner="w1", queue="cpu")
    made = Attempt(job, actor=worker_actor)
    beating.watch(made)
    return made


@pytest.mark.parametrize("fault", [OperationalError("away"), OSError("no /proc"), KeyError("surprise")])
def test_heartbeat_outlives_any_fault(beating, monkeypatch, fault):
    faults = iter([fault])

    def beat() -> None:
        for one in faults:
            raise one
        beating.ended.set()

    monkeypatch.setattr(module, "POLL_SECONDS", 0.01)
    monkeypatch.setattr(beating, "send_heartbeat", beat)
    beating.run()
    assert beating.ended.is_set()


@pytest.mark.parametrize(("overdue", "renewed"), [(0, True), (module.OVERDUE_SECONDS + 1, False)])
def test_hanging_attempt_loses_its_lease(beating, attempt, overdue, renewed):
    before = Job.objects.get(pk=attempt.job.pk).lease_until
    attempt.deadline = time.monotonic() - overdue
    beating.renewed_at = 0.0
    beating.send_heartbeat()
    assert (Job.objects.get(pk=attempt.job.pk).lease_until > before) is renewed


def test_node_sample_counts_running_jobs(beating, attempt):
    beating.sampled_at -= 60
    for _ in range(3):
        beating.node_at = 0.0
        beating.send_heartbeat()
    assert NodeSample.objects.get().running_jobs == 1


def test_attempt_hears_of_cancel_and_loss(beating, attempt, engineer, actor_for):
    services.cancel_job(actor=actor_for(engineer), job=attempt.job)
    beating.send_heartbeat()
    assert attempt.reason == "cancelled"
    attempt.reason = ""
    Job.objects.update(attempt=2)
    beating.send_heartbeat()
    assert attempt.reason == "lost"


def test_forget_keeps_next_attempt_of_same_job(beating, attempt, worker_actor):
    Job.objects.update(attempt=2)
    again = Attempt(Job.objects.get(pk=attempt.job.pk), actor=worker_actor)
    beating.watch(again)
    beating.forget(attempt)
    assert list(beating.attempts.values()) == [again]


def test_database_outage_beyond_lease_loses_job(beating, attempt):
    beating.renewed_at = time.monotonic() - 3600
    beating.stop_stale()
    assert attempt.reason == "outage"


def test_short_disk_is_told_at_the_next_beat(beating, attempt, node, monkeypatch, settings):
    assert beating.is_short_of_disk() is False
    beating.node_at = time.monotonic()
    monkeypatch.setattr(module.hardware, "get_disk_space", lambda folder: (10**9, 10**6))
    assert beating.is_short_of_disk() is True
    beating.send_heartbeat()
    node.refresh_from_db()
    assert [disk["name"] for disk in node.short_disks] == ["scratch", "store"]
