"""Means and ends of samples: the tables stay as long as they are said to be."""

from __future__ import annotations

from datetime import timedelta

import pytest

from apps.core.actors import PlaneRole, build_plane_actor
from apps.core.errors import Refused
from apps.platform.nodes import samples
from apps.platform.nodes.models import Node, NodeSample
from apps.platform.nodes.services import keep_samples

pytestmark = [pytest.mark.django_db, pytest.mark.services]
NOW = samples.datetime.fromtimestamp(1_800_000_000, samples.UTC)  # a whole five minutes


@pytest.fixture
def keep(monkeypatch):
    """keep(seconds) as the dispatcher does it, so many seconds after NOW."""

    def at(seconds: float = 0) -> int:
        monkeypatch.setattr(samples, "get_database_now", lambda: NOW + timedelta(seconds=seconds))
        return keep_samples(actor=build_plane_actor(PlaneRole.DISPATCHER))

    return at


def add(node: Node, seconds: float, cpu: float | None = 0.5, span: int = 0, **columns) -> NodeSample:
    return NodeSample.objects.create(
        node=node, span=span, at=NOW + timedelta(seconds=seconds), cpu_share=cpu, **columns
    )


def means() -> list[tuple[str, float, float | None]]:
    rows = NodeSample.objects.filter(span=300).order_by("at", "node__name").select_related("node")
    return [(row.node.name, (row.at - NOW).total_seconds(), row.cpu_share) for row in rows]


def test_means_of_five_minutes_of_each_node(node, keep):
    other = Node.objects.create(name="n2", host="h")
    for seconds, cpu in ((0, 0.2), (15, 0.4), (299, 0.6), (300, 1.0)):
        add(node, seconds, cpu)
    add(other, 30, None, memory_used_bytes=5)
    assert keep(400) == 2
    assert means() == [("gpu-01", 0, 0.4), ("n2", 0, None)]
    assert keep(400) == 0
    assert keep(700) == 1
    assert means()[-1] == ("gpu-01", 300, 1.0)


def test_a_stretch_that_may_still_grow_has_no_mean(node, keep):
    add(node, 10)
    assert [keep(seconds) for seconds in (200, 300, 329, 330)] == [0, 0, 0, 1]


def test_a_stretch_without_samples_is_passed_over(node, keep):
    add(node, -40_000, 0.1)
    add(node, 10, 0.9)
    assert keep(400) == 2
    assert [cpu for _, _, cpu in means()] == [0.1, 0.9]


def test_means_of_gpus_leave_out_what_was_not_told(node, keep):
    for busy in (0.2, None, 0.4):
        card = {"index": 1, "busy": busy, "memory_used_bytes": 10, "memory_bytes": 40, "temperature": None}
        add(node, 15 if busy is None else busy * 100, gpus=[card])
    keep(400)
    told = {"index": 1, "busy": 0.3, "memory_used_bytes": 10, "memory_bytes": 40, "temperature": None}
    assert NodeSample.objects.get(span=300).gpus == [told]


def test_what_is_too_old_goes(node, keep):
    day, month = 86_400, 30 * 86_400
    for seconds, span in ((-day - 1, 0), (-day + 60, 0), (-month - 1, 300), (-month + 60, 300)):
        add(node, seconds, span=span)
    keep(0)
    left = NodeSample.objects.order_by("at").values_list("at", "span")
    assert next(((at - NOW).total_seconds(), span) for at, span in left) == (-month + 60, 300)
    assert not NodeSample.objects.filter(span=0, at__lt=NOW - timedelta(days=1)).exists()


def test_takes_the_dispatcher(actor_for, sysadmin):
    with pytest.raises(Refused):
        keep_samples(actor=actor_for(sysadmin))
