"""Small jobs cannot starve one that needs several nodes at once."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.db.models.functions import Now

from apps.platform.jobs.kinds import Needs
from apps.platform.jobs.models import Job, JobReservation
from apps.platform.jobs.scheduling import reservations
from apps.platform.nodes.models import Node

pytestmark = [pytest.mark.django_db, pytest.mark.services]


@pytest.fixture
def starved(submit, claim, add_node):
    """A job that needs two whole nodes, has waited for an hour, and always finds one of them busy."""
    nodes = [add_node(name, extras=["gang"]) for name in ("a", "b", "c")]
    Node.objects.filter(pk=nodes[2].pk).update(cpus=1)  # too small
    submit(needs=Needs(cpus=1))
    busy = claim(on=nodes[0])
    job = submit(needs=Needs(cpus=4, nodes=2))
    Job.objects.filter(pk=job.pk).update(queued_at=Now() - timedelta(hours=1))
    return job, busy, nodes


@pytest.fixture
def reserve_nodes(dispatcher):
    return lambda: reservations.reserve_nodes(actor=dispatcher)


def test_without_a_reservation_small_ones_pass_it(starved, submit, claim, succeed):
    _, busy, nodes = starved
    submit(needs=Needs(cpus=1))
    following = claim(on=nodes[1])
    succeed(busy)
    submit(needs=Needs(cpus=1))
    assert [following.node_id, claim(on=nodes[0]).need_nodes] == [nodes[1].pk, 1]


def test_all_its_nodes_are_kept_the_free_one_as_well(starved, submit, claim, succeed, reserve_nodes):
    job, busy, nodes = starved
    assert reserve_nodes() == 2
    submit(needs=Needs(cpus=1))
    assert [claim(on=node) for node in nodes[:2]] == [None, None]
    assert claim(on=nodes[2]) is not None
    succeed(busy)
    assert claim(on=nodes[1]).pk == job.pk
    assert not JobReservation.objects.exists()


def test_none_is_kept_when_too_few_can_ever_have_room(starved, reserve_nodes):
    _, _, nodes = starved
    Node.objects.filter(pk=nodes[1].pk).update(cpus=2)
    assert reserve_nodes() == 0


def test_all_are_given_up_when_one_is_of_no_use_any_more(starved, reserve_nodes):
    job, _, nodes = starved
    reserve_nodes()
    Node.objects.filter(pk=nodes[0].pk).update(held_at=Now(), held_reason="fan")
    reserve_nodes()
    job.refresh_from_db()
    assert (job.reserved_on_id, JobReservation.objects.count()) == (None, 0)
