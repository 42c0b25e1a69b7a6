from __future__ import annotations

import json
import threading

import pytest

from apps.ml.pipelines.models import PipelineStep
from apps.ml.pipelines.streams import compute_mark
from apps.platform.jobs import services as jobs
from apps.platform.jobs import streams
from tests.apps.ml.pipelines.conftest import step

pytestmark = [pytest.mark.django_db, pytest.mark.services]


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    monkeypatch.setattr(streams, "POLL_SECONDS", 0.01)
    monkeypatch.setattr(streams, "STOPPING", threading.Event())
    monkeypatch.setattr(streams, "OPEN_SECONDS", 0.05)
    yield
    assert streams._open == 0, "a seat was kept"


@pytest.fixture
def told(api, viewer, url):
    """told(pipeline, seen) -> (event, id, data) of each message of its stream."""
    client = api(viewer)

    def follow(pipeline, seen="", **headers):
        response = client.get(url(f"/{pipeline.pk}/events?seen={seen}"), headers=headers)
        found = []
        for block in b"".join(response.streaming_content).decode().split("\n\n"):
            lines = dict(line.split(": ", 1) for line in block.splitlines() if not line.startswith(":"))
            if "event" in lines:
                found.append((lines["event"], lines["id"], json.loads(lines["data"])))
        response.close()
        return found

    return follow


def mark(pipeline) -> str:
    return compute_mark(one.job for one in PipelineStep.objects.filter(pipeline=pipeline).order_by("position"))


def test_a_page_that_is_up_to_date_hears_nothing(told, start):
    pipeline = start()
    assert told(pipeline, mark(pipeline)) == []


@pytest.mark.parametrize("came_back", [False, True])
def test_a_page_that_is_not_up_to_date_is_told_at_once(told, start, work, came_back):
    pipeline = start()
    old = mark(pipeline)
    work(1)
    now = mark(pipeline)
    heard = told(pipeline, now, **{"Last-Event-ID": old}) if came_back else told(pipeline, old)
    assert heard == [("changed", now, {"mark": now})]


def test_progress_is_told_by_step_and_once(told, start, claim, worker_actor):
    pipeline = start([step("a"), step("b")])
    running = claim()
    jobs.report_events(actor=worker_actor, job=running, events=[], progress={"done": 1, "total": 4, "unit": "rows"})
    now = mark(pipeline)
    data = {"step": "a", "done": 1, "total": 4, "unit": "rows", "share": 0.25}
    assert told(pipeline, now) == [("progress", now, data)]


def test_the_end_is_told_with_the_state_and_ends_the_stream(told, start, work):
    pipeline = start()
    work(3)
    now = mark(pipeline)
    assert told(pipeline, now) == [("end", now, {"state": "succeeded"})]
