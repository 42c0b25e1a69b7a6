from __future__ import annotations

import json
import threading
import time

import pytest
from django.db import connection

from apps.platform.jobs import services, streams
from apps.platform.jobs.models import Job

pytestmark = [pytest.mark.django_db, pytest.mark.services]


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    monkeypatch.setattr(streams, "POLL_SECONDS", 0.01)
    monkeypatch.setattr(streams, "WAIT_POLL_SECONDS", 0.01)
    monkeypatch.setattr(streams, "STOPPING", threading.Event())
    monkeypatch.setattr(streams, "OPEN_SECONDS", 0.05)
    yield
    assert streams._open == 0, "a seat was kept"


def parsed(response) -> list[tuple[str, str | None, dict]]:
    """(event, id, data) of each message; comments and the retry line are left out."""
    found = []
    for block in b"".join(response.streaming_content).decode().split("\n\n"):
        lines = dict(line.split(": ", 1) for line in block.splitlines() if not line.startswith(":"))
        if "event" in lines:
            found.append((lines["event"], lines.get("id"), json.loads(lines["data"])))
    response.close()
    return found


@pytest.fixture
def events(api, viewer, url):
    """events(job, **headers or ?query) -> the response of the stream."""
    client = api(viewer)
    return lambda job, query="", **headers: client.get(url(f"/{job.pk}/events{query}"), headers=headers)


@pytest.fixture
def ended(running, say, worker_actor, succeed):
    say(running, "one", "two")
    points = [{"name": "loss", "value": 0.5, "step": 1}, {"name": "loss", "value": 0.4, "step": 2}]
    told = [("metric", {"points": points}), ("progress", {"done": 1, "total": 2})]
    services.report_events(actor=worker_actor, job=running, events=told)
    return succeed(running)


def test_tells_everything_and_ends(events, ended):
    answer = events(ended)
    assert answer.headers["Content-Type"] == "text/event-stream"
    assert (answer.headers["Cache-Control"], answer.headers["X-Accel-Buffering"]) == ("no-store", "no")
    told = parsed(answer)
    names = [name for name, _id, _data in told]
    assert names == ["state", "state", "log", "metric", "metric", "progress", "state", "end"]
    assert [seq for _name, seq, _data in told] == ["1", "2", "3", None, "4", "5", "6", "6"]
    assert told[2][2]["first"] == 1
    assert told[3][2] == {"name": "loss", "value": 0.5, "step": 1}
    assert told[-1][2] == {"state": "succeeded"}


@pytest.mark.parametrize(
    ("query", "headers", "first"),
    [("?after=4", {}, "5"), ("", {"Last-Event-ID": "5"}, "6"), ("?after=1", {"Last-Event-ID": "6"}, "6")],
)
def test_resumes_behind_what_was_seen(events, ended, query, headers, first):
    told = parsed(events(ended, query, **headers))
    assert told[0][1] == first
    assert told[-1][0] == "end"


def test_more_events_than_one_look_takes(events, running, say, succeed):
    for number in range(2 * streams.EVENTS_PER_POLL + 3):
        say(running, str(number))
    succeed(Job.objects.get(pk=running.pk))
    lines = [data["lines"][0][2] for name, _seq, data in parsed(events(running)) if name == "log"]
    assert lines == [str(number) for number in range(2 * streams.EVENTS_PER_POLL + 3)]


def test_closes_after_its_time_with_heartbeats(events, running, monkeypatch):
    monkeypatch.setattr(streams, "HEARTBEAT_SECONDS", 0.0)
    monkeypatch.setattr(streams, "OPEN_SECONDS", 60)
    parts = []
    for part in events(running).streaming_content:
        parts.append(part)
        if part == b": still here\n\n":
            monkeypatch.setattr(streams, "OPEN_SECONDS", 0)  # now its time is over
    assert b": still here\n\n" in parts
    assert b"event: end" not in b"".join(parts)


def test_stops_with_the_process(events, running, monkeypatch):
    monkeypatch.setattr(streams, "OPEN_SECONDS", 60)
    monkeypatch.setattr(streams, "POLL_SECONDS", 60)
    threading.Timer(0.1, streams.STOPPING.set).start()
    began = time.monotonic()
    list(events(running).streaming_content)
    assert time.monotonic() - began < 30  # of 60


@pytest.mark.parametrize("read", [True, False])
def test_a_client_that_goes_frees_its_seat(events, running, read):
    answer = events(running)
    assert streams._open == 1
    if read:
        next(iter(answer.streaming_content))
    answer.close()
    assert streams._open == 0


def test_a_full_process_says_so(events, running, monkeypatch, settings):
    monkeypatch.setattr(streams, "_open", settings.ENV.streams_per_worker)
    answer = events(running)
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "too_many_streams")
    assert int(answer.headers["Retry-After"]) > 0
    monkeypatch.setattr(streams, "_open", 0)


@pytest.mark.parametrize(("query", "headers"), [("?after=x", {}), ("", {"Last-Event-ID": "-1"})])
def test_nonsense_to_resume_from(events, running, query, headers):
    assert events(running, query, **headers).status_code == 422


def test_a_browser_reads_it_with_its_session(web, viewer, url, ended):
    assert parsed(web(viewer).get(url(f"/{ended.pk}/events")))[-1][0] == "end"


# -- wait -----------------------------------------------------------------------------------------------------------
def test_wait_answers_at_once_for_an_ended_job(api, viewer, url, ended, monkeypatch):
    monkeypatch.setattr(streams, "WAIT_POLL_SECONDS", 60)
    assert api(viewer).get(url(f"/{ended.pk}/wait?timeout=60")).json()["state"] == "succeeded"


@pytest.mark.parametrize("timeout", [0, 1])
def test_wait_answers_with_the_state_when_the_time_is_over(api, viewer, url, running, timeout):
    began = time.monotonic()
    body = api(viewer).get(url(f"/{running.pk}/wait?timeout={timeout}")).json()
    assert body["state"] == "running"
    assert timeout <= time.monotonic() - began < timeout + 30


@pytest.mark.parametrize("timeout", ["61", "-1", "x", "1.5"])
def test_wait_has_limits(api, viewer, url, running, timeout):
    answer = api(viewer).get(url(f"/{running.pk}/wait?timeout={timeout}"))
    assert (answer.status_code, answer.json()["error"]["limit"]) == (422, "0..60")


def test_wait_counts_against_the_cap(api, viewer, url, running, monkeypatch, settings):
    monkeypatch.setattr(streams, "_open", settings.ENV.streams_per_worker)
    assert api(viewer).get(url(f"/{running.pk}/wait?timeout=1")).status_code == 503
    monkeypatch.setattr(streams, "_open", 0)


@pytest.mark.django_db(transaction=True)
def test_wait_wakes_when_the_job_ends(api, viewer, url, submit, actor_for, engineer):
    job, actor = submit(), actor_for(engineer)

    def cancel():
        time.sleep(0.2)
        services.cancel_job(actor=actor, job=job)
        connection.close()

    thread = threading.Thread(target=cancel)
    thread.start()
    body = api(viewer).get(url(f"/{job.pk}/wait?timeout=30")).json()
    thread.join()
    assert body["state"] == "cancelled"
