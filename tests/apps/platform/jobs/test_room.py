"""When a busy node will have room: by what runs there says of itself, and at the latest by its time limits."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from apps.platform.accounts.models import Membership
from apps.platform.jobs.kinds import Needs
from apps.platform.jobs.models import Job
from apps.platform.jobs.queries import explain_wait
from apps.platform.jobs.scheduling.placement import find_opening

NOW = timezone.now()


def job(pk=1, cpus=1.0, memory=0, left=None, limit=3600, began=600, devices=(), **needs) -> Job:
    progress = {} if left is None else {"eta_seconds": left}
    claimed = NOW - timedelta(seconds=began)
    columns = {"need_cpus": cpus, "need_memory_bytes": memory, "devices": list(devices), **needs}
    return Job(pk=pk, progress=progress, claimed_at=claimed, time_limit_seconds=limit, **columns)


def seconds(moment) -> float | None:
    return None if moment is None else round((moment - NOW).total_seconds())


@pytest.fixture
def node():
    from apps.platform.nodes.models import Node

    gpu = {"name": "A100", "memory_bytes": 40}
    return Node(name="n1", cpus=4, memory_bytes=64, gpus=[{"index": 0, **gpu}, {"index": 1, **gpu}])


def test_the_one_that_ends_first_and_suffices(node):
    found = find_opening(job(9, cpus=2), node, [job(1, cpus=2, left=500), job(2, cpus=2, left=60)], NOW)
    assert ([one.pk for one in found.jobs], seconds(found.expected), seconds(found.latest)) == ([2], 60, 3000)


def test_as_many_as_it_takes(node):
    found = find_opening(job(9, cpus=4), node, [job(1, cpus=2, left=500), job(2, cpus=2, left=60)], NOW)
    assert (sorted(one.pk for one in found.jobs), seconds(found.expected)) == ([1, 2], 500)


def test_one_that_gives_back_other_things_is_not_named(node):
    small, large = job(1, cpus=0.5, left=10), job(2, cpus=0.5, memory=50, left=200)
    found = find_opening(job(9, cpus=1, memory=40), node, [small, large], NOW)
    assert [one.pk for one in found.jobs] == [2]


def test_gpus_count(node):
    running = [job(1, devices=[0], need_gpus=1, left=30), job(2, devices=[1], need_gpus=1, left=90)]
    found = find_opening(job(9, need_gpus=2, need_gpu_memory_bytes=40), node, running, NOW)
    assert seconds(found.expected) == 90


@pytest.mark.parametrize("left", [None, "soon", -3, 1e12])
def test_without_a_report_only_the_limit_is_known(node, left):
    found = find_opening(job(9, cpus=4), node, [job(1, cpus=2, left=left)], NOW)
    assert (found.expected, seconds(found.latest)) == (None, 3000)


def test_no_report_outlives_the_limit(node):
    found = find_opening(job(9, cpus=4), node, [job(1, cpus=2, left=9999, limit=700)], NOW)
    assert (seconds(found.expected), seconds(found.latest)) == (100, 100)


@pytest.mark.parametrize("wanted", [{"cpus": 1}, {"cpus": 5}, {"memory": 65}])
def test_none_where_there_is_room_or_never_will_be(node, wanted):
    assert find_opening(job(9, **wanted), node, [job(1, cpus=2)], NOW) is None


@pytest.mark.django_db
def test_jobs_of_other_projects_are_counted_not_named(submit, claim, add_node, actor_for, engineer, viewer):
    one = add_node("big", cpus=2)
    running = submit(needs=Needs(cpus=2))
    claim(on=one)
    waits = submit(needs=Needs(cpus=1))
    mine = explain_wait(actor_for(viewer), waits)["nodes"][0]["room"]
    assert (mine["jobs"], mine["other_jobs"], mine["expected_at"]) == ([running.pk], 0, None)
    Membership.objects.filter(user=viewer).delete()
    viewer.system_role = "auditor"
    viewer.save()
    theirs = explain_wait(actor_for(viewer), waits)["nodes"][0]["room"]
    assert (theirs["jobs"], theirs["other_jobs"]) == ([], 1)
