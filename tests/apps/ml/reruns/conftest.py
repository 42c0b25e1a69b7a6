"""Runs that have ended, of jobs that were never run, and the bytes that they took."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from django.db.models.functions import Now

from apps.core.actors import PlaneRole, build_plane_actor
from apps.core.canonical import encode_canonical_json, sha256_hex
from apps.ml.experiments import services
from apps.ml.experiments.metrics.series import Point
from apps.ml.experiments.models import Run
from apps.ml.reruns import preflight
from apps.ml.reruns.models import Rerun
from apps.ml.reruns.services import evaluate_ended_reruns, rerun_run
from apps.ml.reruns.tolerance import Tolerance
from apps.platform.artifacts.models import Artifact, Holding
from apps.platform.artifacts.stores import get_store
from apps.platform.jobs.models import Job
from apps.platform.jobs.scheduling import doorbell
from apps.platform.jobs.states import JobState
from apps.platform.nodes.models import Node
from deepseek.train.spec import TrainSpec

START = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
CODE = "c" * 64
PACKAGES = {"torch": "2.9", "numpy": "2.2"}
ENVIRONMENT = {"python": "3.11.2", "platform": "Linux", "packages": PACKAGES, "threads": 1, "processor": "Old 1"}


@pytest.fixture(autouse=True)
def _here(monkeypatch, settings, tmp_path):
    """A store of this test alone; what the plane has now is what the runs recorded, and no doorbell is published."""
    settings.PLANE_HOME = tmp_path
    monkeypatch.setattr(doorbell, "ring", lambda queue: None)
    monkeypatch.setattr(preflight, "compute_code_digest", lambda: CODE)
    monkeypatch.setattr(preflight, "python_version", lambda: ENVIRONMENT["python"])
    monkeypatch.setattr(preflight, "get_installed_version", lambda name: PACKAGES.get(name, ""))


@pytest.fixture
def node(db) -> Node:
    made = Node.objects.create(name="n1", host="n1", queues=["cpu"], cpus=64, memory_bytes=2**36)
    Node.objects.filter(pk=made.pk).update(heartbeat_at=Now(), hardware={"processor": "Old 1"})
    return made


@pytest.fixture
def held(project):
    """held(bytes) -> an Artifact of the project whose bytes are in the store."""

    def put(data: bytes = b"day,price\n1,2\n") -> Artifact:
        with get_store().open_staging() as staging:
            staging.write(data)
            digest, size = staging.publish()
        artifact = Artifact.objects.get_or_create(digest=digest, defaults={"size": size})[0]
        Holding.objects.get_or_create(project=project, artifact=artifact, defaults={"name": "table"})
        return artifact

    return put


@pytest.fixture
def end(worker_actor, node, held):
    """end(job, state="finished", environment={}, code=CODE, inputs={}, figures={}, outputs={path: bytes}, **series)
    -> the run of a job as its worker would have left it; a series is a list of values with steps from 1.
    """

    def write(
        job, *, state="finished", environment=None, code=CODE, inputs=None, figures=None, outputs=None, **series
    ) -> Run:
        Job.objects.filter(pk=job.pk).update(state=JobState.RUNNING, attempt=job.attempt + 1, owner="w", node=node)
        job.refresh_from_db()
        taken = dict(job.inputs.values_list("slot", "artifact_id"))
        facts = services.Facts(
            environment=ENVIRONMENT | (environment or {}),
            code_digest=code,
            inputs=inputs or taken,
            params={"seed": "0"},
        )
        run = services.start_run(actor=worker_actor, job=job, facts=facts)
        points = [
            Point(key, float(value), step, START + timedelta(seconds=step))
            for key, values in series.items()
            for step, value in enumerate(values, 1)
        ]
        services.log_metrics(actor=worker_actor, run=run, points=points)
        artifacts = [(path, held(data), "x/y") for path, data in (outputs or {}).items()]
        services.finish_run(actor=worker_actor, run=run, state=state, artifacts=artifacts, figures=figures)
        ended = {"finished": JobState.SUCCEEDED, "failed": JobState.FAILED, "killed": JobState.CANCELLED}[state]
        error = {"message": "It broke."} if state == "failed" else None
        Job.objects.filter(pk=job.pk).update(state=ended, ended_at=Now(), error=error)
        return Run.objects.select_related("job", "project").get(pk=run.pk)

    return write


@pytest.fixture
def add_job(project, engineer, actor_for, held):
    """add_job(**fields of the spec) -> a queued training of the engineer."""

    def make(**spec) -> Job:
        text = encode_canonical_json(
            TrainSpec(**({"task": "forecast", "target": "price"} | spec)).model_dump(mode="json")
        )
        grant = {**actor_for(engineer).as_record(), "scopes": None}
        facts = {"queue": "cpu", "time_limit_seconds": 60, "grant": grant, "requester": "engineer", "kind": "train"}
        facts |= {"need_memory_bytes": 2**30}
        job = Job.objects.create(project=project, spec=text, spec_digest=sha256_hex(text), **facts)
        job.inputs.create(slot="table", artifact=held())
        return job

    return make


@pytest.fixture
def original(add_job, end) -> Run:
    return end(add_job(), loss=[3, 2, 1], outputs={"model/model.safetensors": b"weights"})


@pytest.fixture
def ask(actor_for, engineer):
    """ask(run, tolerance=Tolerance(), **more) -> the rerun, by the engineer."""

    def rerun(run: Run, tolerance=None, **more) -> Rerun:
        return rerun_run(actor=actor_for(engineer), run=run, tolerance=tolerance or Tolerance(), **more)[0]

    return rerun


@pytest.fixture
def dispatcher():
    return build_plane_actor(PlaneRole.DISPATCHER, host="test")


@pytest.fixture
def judged(dispatcher):
    """judged(rerun) -> it, once the dispatcher has looked."""

    def look(rerun: Rerun) -> Rerun:
        evaluate_ended_reruns(actor=dispatcher)
        rerun.refresh_from_db()
        return rerun

    return look


@pytest.fixture
def url(project):
    return lambda tail: f"/api/v1/projects/{project.slug}{tail}"
