from __future__ import annotations

import threading
from datetime import timedelta

import pytest
from django.db import connection
from django.db.models.functions import Now
from django.utils import timezone

from apps.core.errors import Refused
from apps.platform.accounts.models import Membership, User
from apps.platform.jobs import services
from apps.platform.jobs.kinds import KINDS, Needs
from apps.platform.jobs.models import Job
from apps.platform.jobs.states import JobState
from apps.platform.nodes.models import Node
from workers.node import MEMORY_SHARE

pytestmark = [pytest.mark.django_db, pytest.mark.services]
GPU = {"name": "A100", "memory_bytes": 40 * 2**30}


def test_gives_out_by_priority_then_age(submit, claim):
    jobs = [submit(priority=p) for p in (0, 5, 5, -1)]
    got = [claim().pk for _ in jobs]
    assert got == [jobs[1].pk, jobs[2].pk, jobs[0].pk, jobs[3].pk]
    assert claim() is None


def test_takes_a_lease_and_bumps_the_fence(submit, claim, node):
    submit()
    job = claim()
    assert (job.state, job.attempt, job.owner, job.node) == (JobState.RUNNING, 1, "w1", node)
    assert job.lease_until > timezone.now()


@pytest.mark.parametrize("needs", [Needs(cpus=4.5), Needs(memory_bytes=9 * 2**30)])
def test_leaves_what_the_node_cannot_hold(submit, claim, needs):
    small, large = submit(), submit(needs=needs, priority=9)
    assert claim().pk == small.pk
    assert claim() is None
    large.refresh_from_db()
    assert large.attempt == 0


def test_counts_what_runs_on_the_node(submit, claim, succeed):
    for _ in range(3):
        submit(needs=Needs(cpus=2))
    first, second = claim(), claim()
    assert claim() is None
    succeed(first)
    assert claim() is not None
    assert second.state == JobState.RUNNING


@pytest.mark.parametrize(("cores", "gib", "at_once"), [(2, 8, 2), (2, 4, 1), (1, 8, 1), (2, 2, 0)])
def test_how_many_trainings_a_small_machine_runs_at_once(submit, claim, add_node, cores, gib, at_once):
    """Of its memory a worker offers 90 %; where not even one fits, `explain_wait` says what is missing."""
    node = add_node("small", cpus=cores, memory_bytes=int(gib * 2**30 * MEMORY_SHARE))
    jobs = [submit(needs=KINDS["train"].needs) for _ in range(3)]
    assert len([job for job in jobs if claim(on=node)]) == at_once


def test_tenths_of_a_cpu_add_up(submit, claim, add_node):
    node = add_node("small", cpus=0.3)  # less than the sum of three binary tenths
    jobs = [submit(needs=Needs(cpus=0.1)) for _ in range(4)]
    assert [claim(on=node) for _ in jobs] == [*jobs[:3], None]


def test_gives_each_job_gpus_of_its_own_the_smallest_that_suffice(submit, claim, add_node):
    gpus = [{"index": 0, **GPU}, {"index": 1, "name": "T4", "memory_bytes": 16 * 2**30}, {"index": 2, **GPU}]
    node = add_node("g", gpus=gpus)
    for memory in (30 * 2**30, 0, 0):
        submit(needs=Needs(gpus=1, gpu_memory_bytes=memory))
    assert [claim(on=node, queue="gpu").devices for _ in range(3)] == [[0], [1], [2]]


@pytest.mark.parametrize("needs", [Needs(gpus=2), Needs(gpus=1, gpu_memory_bytes=80 * 2**30), Needs(gpus=1, cpus=5)])
def test_looks_past_a_job_whose_gpus_are_too_few_or_too_small(submit, claim, add_node, needs):
    node = add_node("g", gpus=[{"index": 0, **GPU}])
    submit(needs=needs, priority=9)
    fits = submit(needs=Needs(gpus=1))
    assert claim(on=node, queue="gpu").pk == fits.pk
    assert claim(on=node, queue="gpu") is None


def test_a_job_that_needs_a_gpu_takes_no_place_among_those_that_do_not(submit, claim, add_node):
    node = add_node("g", gpus=[{"index": 0, **GPU}])
    wants, plain = submit(needs=Needs(gpus=1), priority=9), submit()
    assert claim(on=node, queue="cpu").pk == plain.pk
    assert claim(on=node, queue="cpu") is None
    assert claim(on=node, queue="gpu").pk == wants.pk


def test_many_jobs_that_never_fit_hide_none_that_does(submit, claim, add_node):
    node = add_node("g", gpus=[{"index": 0, **GPU}])
    for _ in range(12):
        submit(needs=Needs(gpus=1, gpu_memory_bytes=80 * 2**30), priority=9)
    fits = submit(needs=Needs(gpus=1, gpu_memory_bytes=1))
    assert claim(on=node, queue="gpu").pk == fits.pk


def test_a_kind_that_this_worker_does_not_know_is_left_to_one_that_does(submit, claim):
    submit()
    Job.objects.update(kind="of-tomorrow")
    assert claim() is None


def test_a_held_node_gets_nothing(submit, claim, node):
    submit()
    Node.objects.filter(pk=node.pk).update(held_at=Now(), held_reason="fan")
    assert claim() is None


def test_another_queue_gets_nothing(submit, claim):
    submit()
    assert claim(queue="gpu") is None


def test_waits_out_the_pause_after_a_failure(submit, claim, fail):
    submit()
    job = fail(claim(), retry=True)
    assert claim() is None
    Job.objects.filter(pk=job.pk).update(not_before=Now() - timedelta(seconds=1))
    assert claim().attempt == 2


@pytest.mark.parametrize("how", ["role", "disabled"])
def test_fails_a_job_whose_requester_may_no_more_and_goes_on(submit, claim, engineer, child_of, how):
    job, child = submit(), None
    child = child_of(job)
    if how == "role":
        Membership.objects.filter(user=engineer).update(role="viewer")
    else:
        User.objects.filter(pk=engineer.pk).update(is_active=False)
    assert claim() is None
    for row, code in ((job, "authority_gone"), (child, "parent_failed")):
        row.refresh_from_db()
        assert (row.state, row.error["code"]) == (JobState.FAILED, code)


def test_takes_a_worker(actor_for, engineer, sysadmin, node, submit):
    submit()
    for user in (engineer, sysadmin):
        with pytest.raises(Refused):
            services.claim_job(actor=actor_for(user), node=node, owner="x", queue="cpu")


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("nodes", [1, 3])
def test_threads_never_claim_the_same_row(submit, worker_actor, add_node, nodes):
    where = [add_node(f"n{i}", cpus=64) for i in range(nodes)]
    jobs = [submit() for _ in range(24)]
    got: list[tuple[int, int]] = []

    def work(node, owner):
        try:
            while job := services.claim_job(actor=worker_actor, node=node, owner=owner, queue="cpu"):
                got.append((job.pk, job.attempt))
        finally:
            connection.close()

    threads = [threading.Thread(target=work, args=(where[i % nodes], f"w{i}")) for i in range(6)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert sorted(got) == [(job.pk, 1) for job in jobs]


@pytest.mark.django_db(transaction=True)
def test_threads_never_overbook_a_node(submit, worker_actor, add_node):
    node = add_node("n1", cpus=3)
    for _ in range(8):
        submit(needs=Needs(cpus=1))

    def work(owner):
        try:
            services.claim_job(actor=worker_actor, node=node, owner=owner, queue="cpu")
        finally:
            connection.close()

    threads = [threading.Thread(target=work, args=(f"w{i}",)) for i in range(6)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert Job.objects.filter(state=JobState.RUNNING).count() == 3
