from __future__ import annotations

import pytest
from django.utils import timezone

from apps.platform.jobs.kinds import Needs
from apps.platform.jobs.models import QueueSample

pytestmark = pytest.mark.django_db


def test_tells_how_long_each_is_and_why_it_waits(api, viewer, submit, claim, node):
    submit(needs=Needs(cpus=4))
    running = claim()
    head = submit(needs=Needs(cpus=2))
    (cpu,) = api(viewer).get("/api/v1/queues").json()["items"]
    assert (cpu["name"], cpu["queued"], cpu["running"], cpu["nodes"]) == ("cpu", 1, 1, ["n1"])
    assert (cpu["head"]["id"], cpu["head"]["project"], cpu["head"]["wait"]["position"]) == (head.pk, "demo", 0)
    (row,) = cpu["head"]["wait"]["nodes"]
    assert row["room"]["jobs"] == [running.pk]


def test_a_head_of_another_project_has_no_name(api, stranger, submit, node):
    submit(needs=Needs(cpus=9))
    (cpu,) = api(stranger).get("/api/v1/queues").json()["items"]
    assert (cpu["head"]["id"], cpu["head"]["project"], cpu["head"]["kind"]) == (None, None, "noop")


def test_samples_of_a_queue(api, viewer):
    QueueSample.objects.create(queue="cpu", at=timezone.now(), queued=7, running=1)
    told = api(viewer).get("/api/v1/queues/cpu/samples").json()
    assert [(point["queued"], point["oldest_seconds"]) for point in told["samples"]] == [(7, None)]
    assert api(viewer).get("/api/v1/queues/none/samples").json()["samples"] == []
    assert api(viewer).get("/api/v1/queues/cpu/samples", {"step": "1"}).status_code == 422
