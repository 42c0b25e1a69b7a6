"""What may be asked of samples, and what is told."""

from __future__ import annotations

from datetime import timedelta

import pytest

from apps.core.errors import Invalid
from apps.platform.nodes import samples
from apps.platform.nodes.models import NodeSample

pytestmark = [pytest.mark.django_db, pytest.mark.services]


@pytest.fixture
def now(monkeypatch):
    at = samples.datetime.fromtimestamp(1_800_000_000, samples.UTC)
    monkeypatch.setattr(samples, "get_database_now", lambda: at)
    return at


def test_the_last_hour_unless_told_otherwise(now):
    asked = samples.parse_time_window({})
    assert (asked.end, asked.end - asked.start, asked.step, asked.span) == (now, timedelta(hours=1), 15, 0)


@pytest.mark.parametrize(("hours", "step", "span"), [(1, 15, 0), (24, 300, 300), (7 * 24, 1800, 300)])
def test_longer_times_have_wider_steps_and_read_means(now, hours, step, span):
    asked = samples.parse_time_window({"from": (now - timedelta(hours=hours)).isoformat()})
    assert (asked.step, asked.span) == (step, span)


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ({"to": "0001-01-01T00:00:00+00:00"}, "to"),
        ({"from": "yesterday"}, "from"),
        ({"from": "2027-01-15T07:00:00"}, "from"),
        ({"to": "2027-13-01T00:00:00Z"}, "to"),
        ({"from": "2027-01-15T08:00:00Z", "to": "2027-01-15T07:00:00Z"}, "from"),
        ({"from": "2020-01-01T00:00:00Z"}, "from"),
        ({"step": "1"}, "step"),
        ({"step": "-5"}, "step"),
        ({"step": "90000"}, "step"),
        ({"from": "2027-01-14T08:00:00Z", "step": "15"}, "step"),
    ],
)
def test_nonsense_names_its_field(now, query, field):
    with pytest.raises(Invalid) as refused:
        samples.parse_time_window(query)
    assert refused.value.field == field


def test_points_are_means_over_the_step(now, node, actor_for, viewer, django_assert_num_queries):
    for seconds, cpu in ((60, 0.2), (45, 0.4), (15, 0.9), (7200, 1.0)):
        NodeSample.objects.create(node=node, at=now - timedelta(seconds=seconds), cpu_share=cpu)
    actor = actor_for(viewer)
    with django_assert_num_queries(1):
        found = samples.get_node_samples(actor, node, samples.parse_time_window({"step": "30"}))
    assert [(int((now - at).total_seconds()), told["cpu_share"]) for at, told in found] == [(60, 0.3), (30, 0.9)]


def test_a_day_is_told_by_means_and_by_what_has_none_yet(now, node, actor_for, viewer):
    for seconds, cpu, span in ((7200, 0.2, 300), (7200, 1.0, 0), (60, 0.6, 0)):
        NodeSample.objects.create(node=node, at=now - timedelta(seconds=seconds), cpu_share=cpu, span=span)
    day = samples.parse_time_window({"from": (now - timedelta(hours=24)).isoformat()})
    assert [told["cpu_share"] for _, told in samples.get_node_samples(actor_for(viewer), node, day)] == [0.2, 0.6]
