"""A large job does not wait for ever behind a stream of small ones, and nothing else is worse off than it must be."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.db import transaction
from django.db.models.functions import Now
from django.utils import timezone

from apps.core.errors import Refused
from apps.platform.jobs.kinds import Needs
from apps.platform.jobs.models import Job, JobEvent
from apps.platform.jobs.queries import explain_wait
from apps.platform.jobs.scheduling import reservations
from apps.platform.jobs.services import cancel_job, retry_job
from apps.platform.nodes.models import Node

pytestmark = [pytest.mark.django_db, pytest.mark.services]
SMALL, LARGE = Needs(cpus=1), Needs(cpus=4)
GPU = {"name": "A100", "memory_bytes": 40 * 2**30}


@pytest.fixture
def reserve_nodes(dispatcher):
    return lambda: reservations.reserve_nodes(actor=dispatcher)


@pytest.fixture
def age():
    """age(job, seconds=3600): let it have waited so long."""

    def make(job: Job, seconds: float = 3600) -> Job:
        Job.objects.filter(pk=job.pk).update(queued_at=Now() - timedelta(seconds=seconds))
        return job

    return make


@pytest.fixture
def starved(submit, claim, node, age):
    """A job that needs the whole node, on which two small ones run; it has waited for an hour."""
    small = [submit(needs=SMALL), submit(needs=SMALL)]
    running = [claim() for _ in small]
    return age(submit(needs=LARGE)), running


def place_of(job: Job) -> str | None:
    found = Job.objects.select_related("reserved_on").get(pk=job.pk).reserved_on
    return found.name if found else None


def test_without_a_place_small_ones_pass_it_for_ever(starved, submit, claim, succeed):
    _, running = starved
    for _ in range(3):
        submit(needs=SMALL)
        succeed(running.pop(0))
        running.append(claim())
    assert all(running)


def test_with_a_place_it_starts_when_what_ran_has_ended(starved, submit, claim, succeed, reserve_nodes):
    large, running = starved
    assert reserve_nodes() == 1
    submit(needs=SMALL)
    for job in running:
        assert claim() is None
        succeed(job)
    assert claim().pk == large.pk
    assert place_of(large) is None
    assert claim() is None


@pytest.mark.parametrize("ahead", [timedelta(days=1), timedelta(days=-1)])
def test_a_pause_ends_by_the_clock_of_the_database(starved, reserve_nodes, node, monkeypatch, ahead):
    """A worker's own clock, which may be wrong by a day, neither ends the pause of a kept job nor makes it longer."""
    large, _ = starved
    reserve_nodes()
    now = timezone.now()
    monkeypatch.setattr(timezone, "now", lambda: now + ahead)
    assert reservations.get_reserved_job(node).pk == large.pk
    Job.objects.filter(pk=large.pk).update(not_before=Now() + timedelta(hours=1))
    assert reservations.get_reserved_job(node) is None
    Job.objects.filter(pk=large.pk).update(not_before=Now() - timedelta(hours=1))
    assert reservations.get_reserved_job(node).pk == large.pk


def test_it_is_kept_once_and_said(starved, reserve_nodes):
    large, _ = starved
    assert [reserve_nodes(), reserve_nodes()] == [1, 0]
    event = JobEvent.objects.filter(job=large, kind="state").latest("seq")
    assert event.payload["reason"] == "What becomes free on n1 is kept for it"


def test_only_a_job_that_has_waited_long_gets_a_place(starved, age, reserve_nodes):
    for waited, kept in ((60, 0), (899, 0), (1000, 1)):
        age(starved[0], waited)
        assert reserve_nodes() == kept, waited


def test_none_for_one_that_fits_already_or_never(submit, claim, node, age, reserve_nodes):
    age(submit(needs=LARGE))
    assert reserve_nodes() == 0
    claim()
    age(submit(needs=Needs(cpus=99), priority=5))
    assert reserve_nodes() == 0


def test_what_leaves_its_needs_untouched_may_start(submit, claim, add_node, age, reserve_nodes):
    node = add_node("g", queues=["cpu", "gpu"], cpus=8, gpus=[{"index": 0, **GPU}, {"index": 1, **GPU}])
    submit(needs=Needs(cpus=1, gpus=1))
    claim(on=node, queue="gpu")
    age(submit(needs=Needs(cpus=2, gpus=2)))
    assert reserve_nodes() == 1
    small, wide, gpu = submit(needs=Needs(cpus=5)), submit(needs=Needs(cpus=6)), submit(needs=Needs(cpus=1, gpus=1))
    assert claim(on=node).pk == small.pk
    assert claim(on=node) is None
    assert claim(on=node, queue="gpu") is None
    assert {wide.state, gpu.state} == {"queued"}


def test_one_of_higher_priority_still_goes_first(starved, submit, claim, reserve_nodes):
    reserve_nodes()
    urgent = submit(needs=SMALL, priority=9)
    assert claim().pk == urgent.pk


def test_other_nodes_work_on(starved, submit, claim, add_node, reserve_nodes):
    other = add_node("n2", cpus=1)
    reserve_nodes()
    assert claim(on=other) is None
    small = submit(needs=SMALL)
    assert claim() is None
    assert claim(on=other).pk == small.pk


def test_the_node_that_is_free_soonest(starved, submit, claim, add_node, reserve_nodes):
    other = add_node("n2", cpus=4)
    submit(needs=SMALL, priority=9)
    soon = claim(on=other)
    Job.objects.filter(pk=soon.pk).update(progress={"eta_seconds": 5})
    reserve_nodes()
    assert place_of(starved[0]) == "n2"


def test_a_node_that_cannot_run_the_job_any_more_loses_the_place(starved, reserve_nodes):
    large, _ = starved
    reserve_nodes()
    for change in ({"held_at": Now()}, {"heartbeat_at": None}, {"cpus": 2}, {"queues": ["gpu"]}):
        with transaction.atomic():
            Node.objects.update(**change)
            assert (reserve_nodes(), place_of(large)) == (0, None), change
            transaction.set_rollback(True)
    assert place_of(large) == "n1"


def test_one_place_for_a_queue_and_one_job_for_a_node(starved, submit, claim, add_node, age, reserve_nodes):
    other = add_node("n2", cpus=4)
    submit(needs=SMALL, priority=9)
    claim(on=other)
    age(submit(needs=LARGE))
    assert [reserve_nodes(), reserve_nodes()] == [1, 0]
    assert Job.objects.exclude(reserved_on=None).count() == 1


def test_a_cancelled_job_gives_its_place_up(starved, submit, claim, actor_for, engineer, reserve_nodes):
    large, _ = starved
    reserve_nodes()
    small = submit(needs=SMALL)
    cancel_job(actor=actor_for(engineer), job=large)
    assert claim().pk == small.pk
    large.refresh_from_db()
    retry_job(actor=actor_for(engineer), job=large)
    assert place_of(large) is None


def test_both_are_told_why(starved, submit, actor_for, viewer, succeed, reserve_nodes):
    large, running = starved
    reserve_nodes()
    succeed(running[0])
    large.refresh_from_db()
    mine, others = (explain_wait(actor_for(viewer), job) for job in (large, submit(needs=SMALL)))
    assert mine["summary"].endswith("What becomes free there is kept for it.")
    assert (mine["nodes"][0]["kept"], others["nodes"][0]["kept"]) == (True, False)
    assert others["summary"] == "No node has capacity: n1 is kept free for a larger job that has waited longer."


def test_it_takes_the_dispatcher(actor_for, sysadmin):
    with pytest.raises(Refused):
        reservations.reserve_nodes(actor=actor_for(sysadmin))


def test_a_place_is_kept_on_one_node_only(submit, node, add_node):
    job, other = submit(), add_node("n2")
    assert (reservations.reserve_node(job, node), reservations.reserve_node(job, other), place_of(job)) == (
        True,
        False,
        "n1",
    )
