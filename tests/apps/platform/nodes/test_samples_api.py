from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from apps.platform.nodes.models import NodeSample

pytestmark = pytest.mark.django_db
URL = "/api/v1/nodes/gpu-01/samples"


@pytest.fixture
def samples(node):
    card = {"index": 0, "busy": 0.42, "memory_used_bytes": 10, "memory_bytes": 40, "temperature": 61}
    for number in range(8):
        at = timezone.now() - timedelta(seconds=15 * (8 - number))
        NodeSample.objects.create(node=node, at=at, cpu_share=0.5, memory_used_bytes=16, gpus=[card])


def test_the_last_hour(api, viewer, samples):
    told = api(viewer).get(URL).json()
    assert (told["node"], told["step"]) == ("gpu-01", 15)
    assert len(told["samples"]) >= 7
    first = told["samples"][0]
    assert (first["cpu_share"], first["memory_used_bytes"], first["store_used_bytes"]) == (0.5, 16, None)
    assert first["gpus"] == [
        {"index": 0, "busy": 0.42, "memory_used_bytes": 10, "memory_bytes": 40, "temperature": 61.0}
    ]


def test_a_wider_step_has_fewer_points(api, viewer, samples):
    assert 1 <= len(api(viewer).get(URL, {"step": "3600"}).json()["samples"]) <= 2


@pytest.mark.parametrize(("query", "field"), [({"from": "x"}, "from"), ({"step": "0"}, "step"), ({"to": "1"}, "to")])
def test_nonsense_names_its_field(api, viewer, node, query, field):
    answer = api(viewer).get(URL, query)
    assert (answer.status_code, answer.json()["error"]["field"]) == (422, field)


def test_who_sees_no_node_sees_no_samples(api, viewer, client, node):
    assert client.get(URL).status_code == 401
    assert api(viewer).get("/api/v1/nodes/gpu-99/samples").status_code == 404
