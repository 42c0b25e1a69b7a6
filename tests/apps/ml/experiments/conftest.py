"""Jobs of a tracked kind and the runs that a worker keeps of them."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from django.db.models.functions import Now

from apps.ml.experiments import services
from apps.ml.experiments.metrics.series import Point
from apps.ml.experiments.models import Run
from apps.platform.artifacts.models import Artifact, Holding
from apps.platform.artifacts.services import store_file
from apps.platform.jobs import kinds
from apps.platform.jobs.models import Job
from apps.platform.jobs.scheduling import doorbell
from apps.platform.jobs.states import JobState
from apps.platform.nodes.models import Node

START = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


@pytest.fixture(autouse=True)
def _tracked(monkeypatch):
    """A job that does nothing leaves a run; no doorbell is published."""
    monkeypatch.setattr(doorbell, "ring", lambda queue: None)
    monkeypatch.setitem(kinds.KINDS, "noop", replace(kinds.KINDS["noop"], tracked=True))


@pytest.fixture
def node(db) -> Node:
    made = Node.objects.create(name="n1", host="n1", queues=["cpu"], cpus=64, memory_bytes=2**36)
    Node.objects.filter(pk=made.pk).update(heartbeat_at=Now())
    return made


@pytest.fixture
def add_job(project, node):
    """add_job(**columns) -> a running job in its first attempt."""

    def make(**columns) -> Job:
        facts = {"kind": "noop", "spec": "{}", "spec_digest": "5" * 64, "queue": "cpu", "time_limit_seconds": 60}
        facts |= {"project": project, "state": JobState.RUNNING, "attempt": 1, "owner": "w1", "node": node}
        return Job.objects.create(grant={}, requester="engineer", **(facts | columns))

    return make


@pytest.fixture
def job(add_job) -> Job:
    return add_job()


@pytest.fixture
def start(worker_actor, add_job):
    """start(job=None, params={}, experiment="", **columns of the job) -> its run."""

    def begin(job=None, *, params=None, experiment="", inputs=None, **columns) -> Run:
        told = {"params": params or {}, "inputs": inputs or {}, "environment": {"python": "3"}}
        facts = services.Facts(code_digest="c" * 64, **told)
        return services.start_run(actor=worker_actor, job=job or add_job(**columns), facts=facts, experiment=experiment)

    return begin


@pytest.fixture
def run(start, job) -> Run:
    return start(job)


@pytest.fixture
def log(worker_actor):
    """log(run, loss=[(step, value), ...]) or log(run, loss=[value, ...]) with steps from 1."""

    def write(run: Run, **series) -> int:
        points = [
            Point(key, float(value), step, START + timedelta(seconds=step % 1000))
            for key, values in series.items()
            for step, value in (values if values and isinstance(values[0], tuple) else enumerate(values, 1))
        ]
        return services.log_metrics(actor=worker_actor, run=run, points=points)

    return write


@pytest.fixture
def log_at(worker_actor):
    """log_at(run, loss=[(step, seconds since START, value), ...])"""

    def write(run: Run, **series) -> int:
        points = [
            Point(key, float(value), step, START + timedelta(seconds=seconds))
            for key, values in series.items()
            for step, seconds, value in values
        ]
        return services.log_metrics(actor=worker_actor, run=run, points=points)

    return write


@pytest.fixture
def finish(worker_actor):
    def end(run: Run, state="finished", **more) -> Run:
        return services.finish_run(actor=worker_actor, run=run, state=state, **more)

    return end


@pytest.fixture
def next_attempt():
    """next_attempt(job) -> the job as its next attempt holds it."""

    def claim(job: Job) -> Job:
        Job.objects.filter(pk=job.pk).update(attempt=job.attempt + 1, state=JobState.RUNNING, owner="w2")
        return Job.objects.get(pk=job.pk)

    return claim


@pytest.fixture
def artifact(project) -> Artifact:
    made = Artifact.objects.create(digest="a" * 64, size=5)
    Holding.objects.create(project=project, artifact=made, created_by="test")
    return made


@pytest.fixture
def url(project):
    return lambda tail="": f"/api/v1/projects/{project.slug}/runs{tail}"


@pytest.fixture
def page(project):
    return lambda tail="": f"/p/{project.slug}/runs{tail}"


@pytest.fixture
def read(web, engineer, page):
    """read(tail, status=200) -> the text of a page."""
    client = web(engineer)

    def ask(tail="", status=200) -> str:
        answer = client.get(page(tail))
        assert answer.status_code == status, answer.status_code
        return answer.content.decode()

    return ask


@pytest.fixture
def keep(project, worker_actor, tmp_path):
    """keep(run, path, bytes) -> an artifact of the run with these bytes."""

    def put(run: Run, path: str, data: bytes):
        (tmp_path / "kept").write_bytes(data)
        made = store_file(actor=worker_actor, project=project, path=tmp_path / "kept")
        return run.artifacts.create(path=path, artifact=made, size=made.size, media_type="application/octet-stream")

    return put
