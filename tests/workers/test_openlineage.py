"""Our jobs told outside: to a file and over HTTP, each event once, none lost while nobody listens."""

from __future__ import annotations

import json
import threading
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from django.utils import timezone

from apps.core.actors import PlaneRole, build_plane_actor
from apps.data.datasets.services import upload_csv
from apps.gateways.openlineage.events import list_pipeline_events
from apps.gateways.openlineage.naming import get_run_id
from apps.ml.pipelines.models import Pipeline, PipelineStep
from apps.platform.artifacts.services import publish_upload
from apps.platform.jobs import services
from apps.platform.jobs.models import Job, JobEvent, JobNotice
from apps.platform.jobs.submission import Submission
from tests import openlineage_schemas
from workers import openlineage, tasks
from workers.openlineage import FileSink, HttpSink, SinkUnavailable, resolve_private_address, send_notices

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.services]

DISPATCHER = build_plane_actor(PlaneRole.DISPATCHER, host="test")
CSV = b"day,close\n" + b"".join(b"2026-01-%02d,%s\n" % (n, b"" if n == 3 else b"5%d.5" % n) for n in range(1, 10))


@pytest.fixture
def set_sinks(settings):
    def sinks(*names):
        settings.OPENLINEAGE_SINKS = list(names)

    return sinks


@pytest.fixture
def lines(tmp_path):
    """lines() -> deliver to a file, and what it holds then."""
    path = tmp_path / "out" / "lineage.jsonl"

    def read():
        send_notices(DISPATCHER, FileSink(path, 10**6, 3))
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    return read


@pytest.fixture
def listener():
    """A server that answers as `answers` says, 200 once they are used up; `got` holds the bodies."""

    class Answer(BaseHTTPRequestHandler):
        def do_POST(self):
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            status = server.answers.pop(0) if server.answers else 200
            server.got.append((status, self.headers.get("Authorization"), body))
            self.send_response(status)
            self.end_headers()

        def log_message(self, *args):
            pass

    server = HTTPServer(("127.0.0.1", 0), Answer)
    server.answers, server.got = [], []
    server.url = f"http://127.0.0.1:{server.server_port}/api/v1/lineage"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def end_waiting():
    """What waits need not wait any longer."""
    JobNotice.objects.update(not_before=timezone.now() - timedelta(seconds=1))


def test_no_notice_without_sink(worker, submit):
    submit(spec={"echo": "x"})
    tasks.run_next("cpu")
    assert not JobNotice.objects.exists()


def test_clean_job_emits_start_and_complete_with_facets(
    worker, project, engineer, actor_for, set_sinks, lines, settings
):
    set_sinks("file")
    actor = actor_for(engineer)
    table = publish_upload(
        actor=actor, project=project, stream=[CSV], expected_size=len(CSV), name="t.csv", media_type="text/csv"
    ).artifact
    upload_csv(actor=actor, project=project, dataset_name="wti", artifact=table)
    asked = Submission(
        kind="clean",
        spec={"columns": ["close"]},
        inputs=[services.InputSpec(slot="table", digest=table.digest)],
        register={"dataset": "wti-clean"},
        name="nightly",
    )
    job = services.submit_job(actor=actor, project=project, submission=asked)[0]
    tasks.run_next("cpu")
    start, complete = lines()
    for event in (start, complete):
        openlineage_schemas.check(event)
    assert (start["eventType"], complete["eventType"]) == ("START", "COMPLETE")
    assert start["run"]["runId"] == complete["run"]["runId"] == str(get_run_id(job.pk, 1))
    assert complete["job"]["namespace"] == f"{settings.ENV.openlineage_namespace}/demo"
    assert (complete["job"]["name"], complete["job"]["facets"]["jobType"]["jobType"]) == ("clean.nightly", "CLEAN")
    [read], [made] = complete["inputs"], complete["outputs"]
    assert (read["name"], read["facets"]["version"]["datasetVersion"]) == ("wti", "1")
    assert (made["name"], made["facets"]["version"]["datasetVersion"]) == ("wti-clean", "1")
    assert [field["name"] for field in made["facets"]["schema"]["fields"]] == ["day", "close"]
    assert made["outputFacets"]["outputStatistics"]["rowCount"] == 9
    assert read["inputFacets"]["dataQualityMetrics"]["columnMetrics"]["close"]["nullCount"] == 1
    assert complete["job"]["facets"]["sourceCodeLocation"]["version"]
    assert complete["run"]["facets"]["deepseek_environment"]["node"] == "test"
    keys = [one["key"] for one in complete["run"]["facets"]["executionParameters"]["parameters"]]
    assert "window_size" in keys
    assert lines() == [start, complete]  # what was acknowledged is not sent again
    assert not JobNotice.objects.exists()


def test_failure_has_error_message(worker, submit, set_sinks, lines):
    set_sinks("file")
    submit(spec={"fail": "error"})
    tasks.run_next("cpu")
    events = lines()
    assert [event["eventType"] for event in events] == ["START", "FAIL"]
    assert events[1]["run"]["facets"]["errorMessage"]["message"]
    openlineage_schemas.check(events[1])


def test_cancel_before_start_is_abort(submit, set_sinks, lines, engineer, actor_for):
    set_sinks("file")
    services.cancel_job(actor=actor_for(engineer), job=submit())
    assert [event["eventType"] for event in lines()] == ["ABORT"]


def test_lost_attempt_fails_and_next_has_new_run_id(node, submit, set_sinks, lines, worker_actor):
    set_sinks("file")
    submit()
    for attempt in (1, 2):
        job = services.claim_job(actor=worker_actor, node=node, owner="w", queue="cpu")
        Job.objects.filter(pk=job.pk).update(lease_until=timezone.now() - timedelta(seconds=1))
        services.recover_expired(actor=DISPATCHER)
        assert job.attempt == attempt
    events = lines()
    assert [event["eventType"] for event in events] == ["START", "FAIL", "START", "FAIL"]
    assert len({event["run"]["runId"] for event in events}) == 2


def test_listener_outage_loses_nothing(submit, set_sinks, listener, engineer, actor_for):
    set_sinks("http")
    for _ in range(3):
        services.cancel_job(actor=actor_for(engineer), job=submit())
    sink = HttpSink(listener.url, "secret")
    listener.answers = [503, 200, 500]
    assert send_notices(DISPATCHER, sink) == 0
    assert send_notices(DISPATCHER, sink) == 0  # it waits
    end_waiting()
    assert send_notices(DISPATCHER, sink) == 1
    end_waiting()
    assert send_notices(DISPATCHER, sink) == 2
    taken = [body["run"]["runId"] for status, _, body in listener.got if status == 200]
    assert len(taken) == len(set(taken)) == 3
    assert {key for _, key, _ in listener.got} == {"Bearer secret"}
    assert [status for status, _, _ in listener.got] == [503, 200, 500, 200, 200]


def test_closed_port_is_retried(submit, set_sinks, engineer, actor_for, listener):
    set_sinks("http")
    services.cancel_job(actor=actor_for(engineer), job=submit())
    listener.server_close()
    assert send_notices(DISPATCHER, HttpSink(listener.url, "")) == 0
    assert JobNotice.objects.get().tries == 1


def test_refused_event_does_not_block_others(submit, set_sinks, listener, engineer, actor_for):
    set_sinks("http")
    for _ in range(2):
        services.cancel_job(actor=actor_for(engineer), job=submit())
    listener.answers = [422]
    assert send_notices(DISPATCHER, HttpSink(listener.url, "")) == 2
    assert JobNotice.objects.get().refused.startswith("422")
    assert send_notices(DISPATCHER, HttpSink(listener.url, "")) == 0


def test_sinks_are_delivered_separately(submit, set_sinks, listener, lines, engineer, actor_for):
    set_sinks("file", "http")
    services.cancel_job(actor=actor_for(engineer), job=submit())
    assert len(lines()) == 1
    assert JobNotice.objects.get().sink == "http"


def test_public_address_is_refused(monkeypatch):
    monkeypatch.setattr(openlineage.socket, "getaddrinfo", lambda *a, **k: [(0, 0, 0, "", ("93.184.216.34", 80))])
    with pytest.raises(SinkUnavailable, match="not of a private network"):
        resolve_private_address("listener", 80)


def test_full_file_is_rotated_and_cut_line_ended(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text('{"cut')
    sink = FileSink(path, 100, 2)
    sink.send({"n": 1})
    assert path.read_text() == '{"cut\n{"n":1}\n'
    sink.send({"n": "x" * 95})
    assert (tmp_path / "a.jsonl.1").read_text().endswith('{"n":1}\n')
    sink.send({"n": 3})
    assert path.read_text() == '{"n":3}\n'
    assert sorted(one.name for one in tmp_path.iterdir()) == ["a.jsonl", "a.jsonl.1", "a.jsonl.lock"]


def test_events_of_job_over_rest(worker, submit, api, viewer, stranger):
    job = submit(spec={"echo": "x"})
    tasks.run_next("cpu")
    url = f"/api/v1/projects/demo/jobs/{job.pk}/openlineage"
    events = api(viewer).get(url).json()["events"]
    assert [event["eventType"] for event in events] == ["START", "COMPLETE"]
    for event in events:
        openlineage_schemas.check(event)
    assert api(stranger).get(url).status_code == 404
    assert JobEvent.objects.filter(job=job, kind="state").exists()


@pytest.mark.parametrize("count", [1, 6])
def test_pipeline_query_count_is_constant(submit, count, django_assert_num_queries, project):
    pipeline = Pipeline.objects.create(project=project, document="{}", document_digest="0" * 64, requester="engineer")
    for number in range(count):
        PipelineStep.objects.create(pipeline=pipeline, name=f"s{number}", position=number, job=submit())
    reader = build_plane_actor(PlaneRole.WORKER, host="test")
    with django_assert_num_queries(7):
        assert list_pipeline_events(reader, pipeline) == []


def test_faulty_event_does_not_block_others(submit, set_sinks, lines, engineer, actor_for, monkeypatch):
    set_sinks("file")
    for _ in range(2):
        services.cancel_job(actor=actor_for(engineer), job=submit())
    first, made = JobNotice.objects.order_by("id").first(), openlineage.build_event

    def broken(facts, move):
        if move.pk == first.event_id:
            raise KeyError("spec")
        return made(facts, move)

    monkeypatch.setattr(openlineage, "build_event", broken)
    assert len(lines()) == 1
    assert JobNotice.objects.get().refused == "KeyError('spec')"


def test_slow_listener_releases_remaining_notices(submit, set_sinks, listener, engineer, actor_for, monkeypatch):
    set_sinks("http")
    for _ in range(3):
        services.cancel_job(actor=actor_for(engineer), job=submit())
    monkeypatch.setattr(openlineage.notices, "LEASE", timedelta(0))
    assert send_notices(DISPATCHER, HttpSink(listener.url, "")) == 0
    assert not JobNotice.objects.exclude(not_before=None).exists()
